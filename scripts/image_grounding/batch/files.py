# SPDX-License-Identifier: Apache-2.0
"""Request files for ``vllm run-batch``, which somebody runs by hand, and the files it writes."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from image_grounding.asking.endpoints.negotiation import Request
from image_grounding.batch.lines import keys_in, objects, read_results, request_line
from image_grounding.batch.queue import JobState, Limits, Result
from image_grounding.batch.requests import path_of
from image_grounding.images.encoding import EncodedImage

_OUTPUT = ".output.jsonl"


class FileQueue:
    """See ``Queue``: a job is a request file, and has ended when its output file is whole.

    ``vllm run-batch`` writes its output as it goes. What is there is taken, the rest awaited.

    Args:
        folder: where the files lie.
        model: what vLLM serves.
        limits: of a file.
        say: takes messages.
    """

    name = "vllm run-batch"
    discount = 1.0
    gives_parts = True

    def __init__(
        self, folder: Path, model: str, limits: Limits, say: Callable[[str], None]
    ) -> None:
        self.limits = limits
        self._folder = folder
        self._model = model
        self._say = say
        self._announced: set[str] = set()

    async def line(self, key: str, request: Request, image: EncodedImage | None) -> bytes:
        """See ``Queue.line``; the picture is in the request."""
        return request_line(key, request.body)

    async def upload(self, tag: str, path: Path) -> str:
        """See ``Queue.upload``; the file stays where it is."""
        return path.name

    async def submit(self, tag: str, file: str) -> str:
        """See ``Queue.submit``; says what is to be run."""
        self._announce(tag)
        return tag

    def _announce(self, tag: str) -> None:
        if tag not in self._announced:
            self._announced.add(tag)
            files = ("-i", path_of(self._folder, tag), "-o", self._output(tag))
            words = shlex.join(map(str, (*files, "--model", self._model)))
            self._say(f"run: vllm run-batch {words}")

    async def find(self, tag: str, file: str) -> str | None:
        """See ``Queue.find``."""
        return tag if path_of(self._folder, tag).is_file() else None

    async def poll(self, job: str) -> JobState:
        """See ``Queue.poll``; a job that was cancelled has no request file any more."""
        asked, answered = path_of(self._folder, job), self._output(job)
        if not asked.is_file():
            return JobState("cancelled", ended=True)
        if not answered.is_file():
            self._announce(job)
            return JobState("written")
        wanted = set(keys_in(asked))
        found = {line.get("custom_id") for line in objects(answered)}
        ended = wanted <= found
        return JobState("completed" if ended else "in part", ended, len(wanted & found))

    async def fetch(self, job: str, tag: str, folder: Path) -> Sequence[Path]:
        """See ``Queue.fetch``."""
        path = self._output(tag)
        return [path] if path.is_file() else []

    def read(self, path: Path) -> Iterator[Result]:
        """See ``Queue.read``."""
        return read_results(path, ())

    async def cancel(self, job: str) -> None:
        """See ``Queue.cancel``: without its request file nothing more will come."""
        path_of(self._folder, job).unlink(missing_ok=True)

    def served(self, path: Path) -> None:
        """See ``Queue.served``; request files are still to be read, outputs are not ours."""

    async def tidy(self, file: str) -> None:
        """See ``Queue.tidy``."""
        (self._folder / file).unlink(missing_ok=True)

    async def close(self) -> None:
        """See ``Queue.close``."""

    def _output(self, tag: str) -> Path:
        return self._folder / f"{tag}{_OUTPUT}"
