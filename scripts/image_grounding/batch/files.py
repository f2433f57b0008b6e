# SPDX-License-Identifier: Apache-2.0
"""Request files for ``vllm run-batch``, which somebody runs by hand, and the files it writes."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from image_grounding.asking.endpoints.negotiation import Request
from image_grounding.batch.lines import keys_in, objects, read_results, request_line
from image_grounding.batch.local_files import opened
from image_grounding.batch.queue import JobState, Limits, Result
from image_grounding.batch.requests import path_of
from image_grounding.images.encoding import EncodedImage

_OUTPUT = ".output.jsonl"
_HEAD_BYTES, _GZIP = 512, b"\x1f\x8b"


class FileQueue:
    """See ``Queue``: a job is a request file, and has ended when its output file is whole.

    What is there of an output is taken, the rest awaited.

    Args:
        folder: where the files lie.
        model: what vLLM serves.
        limits: of a file.
        say: takes messages; the same one may come again.
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
        self._say(f"run: {command_for(self._folder, tag, self._model)}")

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
        found = wanted & {str(line.get("custom_id")) for line in objects(answered)}
        if wanted <= found:
            return JobState("completed", ended=True, found=len(found))
        self._say(_what_is_there(len(found), len(wanted), answered))
        if not found:
            self._announce(job)
        return JobState("in part", found=len(found))

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
        return _output_of(self._folder, tag)


def command_for(folder: Path, tag: str, model: str) -> str:
    """What somebody is to run for a job, for a shell."""
    files = ("-i", path_of(folder, tag), "-o", _output_of(folder, tag))
    return f"vllm run-batch {shlex.join(map(str, (*files, '--model', model)))}"


def _output_of(folder: Path, tag: str) -> Path:
    return folder / f"{tag}{_OUTPUT}"


def _what_is_there(found: int, wanted: int, path: Path) -> str:
    """A sentence on an output that is not whole."""
    if not found:
        return f"0 of {wanted} answers can be read in {path}: {_why_none(path)}"
    return (
        f"{found} of {wanted} answers are in {path}; if run-batch has ended, start it again on the "
        f"same file, or --cancel keeps those {found}"
    )


def _why_none(path: Path) -> str:
    with opened(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        return "it is empty, as when run-batch has only begun or broke"
    if head.startswith(_GZIP):
        return "it is packed with gzip; unpack it under this name"
    if head.lstrip().startswith(b"<"):
        return "it is a page of HTML or XML"
    if any(objects(path)):
        return "none of its lines is of this job"
    return "no line of it is a JSON object"
