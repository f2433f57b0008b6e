# SPDX-License-Identifier: Apache-2.0
"""Gemini's batch mode, through the ``google-genai`` SDK; pictures go to its files API."""

import contextlib
import io
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import aiohttp
from google import genai
from google.genai import errors, types

from image_grounding.asking.endpoints.answers import only_good
from image_grounding.asking.endpoints.connections import calling, open_session
from image_grounding.asking.endpoints.errors import scrub
from image_grounding.asking.endpoints.gemini import make_client, require_key
from image_grounding.asking.endpoints.negotiation import Request
from image_grounding.asking.endpoints.readiness import GOOGLE
from image_grounding.batch.gemini_lines import read_results, request_line
from image_grounding.batch.journal import Journal
from image_grounding.batch.queue import JobState, Limits, Result
from image_grounding.batch.shelf import Shelf
from image_grounding.errors import EndpointError, ServerFaultError
from image_grounding.images.encoding import EncodedImage
from image_grounding.run.estimate import BATCH_DISCOUNT
from image_grounding.spec import Gemini
from image_grounding.spec.secrets import address_secrets

_ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "PARTIALLY_SUCCEEDED"})
_PAGE, _MOST_JOBS = 100, 10_000
# Files live for 48 hours, and a job is to be done within 24.
_PICTURE_S = 23 * 3600.0
_TRANSFER_S = 3600.0
_ODD_ANSWERS = (ValueError, TypeError, AttributeError, LookupError, RecursionError)


class GeminiQueue:
    """See ``Queue``."""

    name = "Gemini's batch mode"
    discount = BATCH_DISCOUNT
    gives_parts = False

    def __init__(self, settings: Gemini, limits: Limits, journal: Journal) -> None:
        self.limits = limits
        self._settings = settings
        self._key = require_key(settings)
        self._secrets = (self._key, *address_secrets(settings.address))
        self._address = settings.address or GOOGLE
        self._shelf = Shelf(journal, _PICTURE_S, self._upload_picture)
        self._session: aiohttp.ClientSession | None = None

    @cached_property
    def _client(self) -> genai.Client:
        """Made by the first call: its session belongs to the event loop."""
        self._session = open_session(self._address, only_good(self._secrets))
        return make_client(self._settings, self._key, self._session)

    async def line(self, key: str, request: Request, image: EncodedImage | None) -> bytes:
        """See ``Queue.line``; the picture is uploaded, where it is not there yet."""
        address = await self._shelf.address(image) if image else None
        return request_line(key, request.body, address)

    async def upload(self, tag: str, path: Path) -> str:
        """See ``Queue.upload``."""
        file = await self._upload(str(path), "application/jsonl", tag)
        return file.name or ""

    async def _upload_picture(self, image: EncodedImage) -> str:
        file = await self._upload(io.BytesIO(image.data), image.mime_type, None)
        return file.uri or ""

    async def _upload(self, what: str | io.BytesIO, mime_type: str, name: str | None) -> types.File:
        # The address, or the SDK would send the file to any that it is named in an answer.
        there = types.HttpOptions(base_url=self._address, timeout=int(_TRANSFER_S * 1000))
        config = types.UploadFileConfig(mime_type=mime_type, display_name=name, http_options=there)
        async with self._our_errors(_TRANSFER_S):
            file = await self._client.aio.files.upload(file=what, config=config)
            if not file.name or not file.uri:
                raise ServerFaultError("the files API names no file")
            return file

    async def submit(self, tag: str, file: str) -> str:
        """See ``Queue.submit``."""
        async with self._our_errors():
            job = await self._client.aio.batches.create(
                model=self._settings.model, src=file, config={"display_name": tag}
            )
            if not job.name:
                raise ServerFaultError("the batch queue names no job")
            return job.name

    async def find(self, tag: str, file: str) -> str | None:
        """See ``Queue.find``."""
        async with self._our_errors():
            looked_at = 0
            async for job in await self._client.aio.batches.list(config={"page_size": _PAGE}):
                looked_at += 1
                if job.display_name == tag:
                    return job.name
                if looked_at >= _MOST_JOBS:
                    break
            return None

    async def poll(self, job: str) -> JobState:
        """See ``Queue.poll``; it does not say how many are done."""
        found = await self._job(job)
        word = _word(found)
        refused = ""
        if word == "FAILED" and not _results(found):
            message = found.error.message if found.error else None
            refused = scrub(message or "no reason given", *self._secrets)
        return JobState(word.lower(), word in _ENDED, refused=refused)

    async def fetch(self, job: str, tag: str, folder: Path) -> Sequence[Path]:
        """See ``Queue.fetch``."""
        name = _results(await self._job(job))
        if not name:
            return []
        path = folder / f"{tag}.output"
        there = types.HttpOptions(timeout=int(_TRANSFER_S * 1000))
        async with self._our_errors(_TRANSFER_S):
            await self._client.aio.files.download(
                file=name,
                destination=str(path),
                config=types.DownloadFileConfig(http_options=there),
            )
        return [path]

    def read(self, path: Path) -> Iterator[Result]:
        """See ``Queue.read``."""
        return read_results(path, self._secrets)

    async def cancel(self, job: str) -> None:
        """See ``Queue.cancel``."""
        async with self._our_errors():
            await self._client.aio.batches.cancel(name=job)

    def served(self, path: Path) -> None:
        """See ``Queue.served``."""
        path.unlink(missing_ok=True)

    async def tidy(self, file: str) -> None:
        """See ``Queue.tidy``: Google gives an account 20 GB."""
        with contextlib.suppress(EndpointError):
            async with self._our_errors():
                await self._client.aio.files.delete(name=file)

    async def close(self) -> None:
        """See ``Queue.close``."""
        if self._session:
            await self._client.aio.aclose()
            await self._session.close()

    async def _job(self, job: str) -> types.BatchJob:
        async with self._our_errors():
            return await self._client.aio.batches.get(name=job)

    @contextlib.asynccontextmanager
    async def _our_errors(self, seconds: float = 0.0) -> AsyncIterator[None]:
        """What the SDK raises, as our errors; bounded by ``seconds``, else by the timeout."""
        async with calling(self._address, seconds or self._settings.timeout):
            try:
                yield
            except aiohttp.ClientError:  # some are ValueErrors, too
                raise
            except (errors.APIError, *_ODD_ANSWERS) as error:
                text = scrub(str(error), *self._secrets)
                raise ServerFaultError(f"the queue's answer cannot be read: {text}") from None


def _word(job: types.BatchJob) -> str:
    """The state of a job, without what all of them begin with."""
    state = str(getattr(job.state, "value", job.state) or "UNSPECIFIED")
    return re.sub(r"^(JOB|BATCH)_STATE_", "", state)


def _results(job: types.BatchJob) -> str | None:
    return job.dest.file_name if job.dest else None
