# SPDX-License-Identifier: Apache-2.0
"""The class of Ray's actors: it travels as code, and finds the package only when it is there."""

from typing import Any


def actor_class() -> type[Any]:
    """A class that needs nothing where it arrives, being one of this function's own."""

    # Ray starts it anew where it ends, and then it knows nothing again.
    class ImageGroundingWorker:
        def __init__(self) -> None:
            self.worker: Any = None

        async def begin(self, code: str, folder: str, settings: bytes) -> None:
            """Get ready.

            Args:
                code: where the package is; empty where Ray has brought it.
                folder: where relative paths start.
                settings: the section ``vlm`` of the spec, pickled.
            """
            import pickle
            import sys

            if self.worker is None:
                before = sys.path[:]
                sys.path[:0] = [code] if code else []
                from image_grounding.cluster.worker import Worker

                sys.path[:] = before  # the scripts beside the package would hide other modules
                self.worker = Worker(pickle.loads(settings), folder)

        async def call(self, message: bytes) -> bytes | None:
            """Call a method of the worker; None where there is none yet.

            Args:
                message: name and arguments, pickled.
            """
            import pickle

            if self.worker is None:
                return None
            method, arguments = pickle.loads(message)
            return pickle.dumps(await getattr(self.worker, method)(*arguments))

    return ImageGroundingWorker
