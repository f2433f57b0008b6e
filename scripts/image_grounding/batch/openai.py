# SPDX-License-Identifier: Apache-2.0
"""``/v1/files`` and ``/v1/batches`` of OpenAI and of servers that are like it."""

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import httpx2
import openai
from openai.types import Batch

from image_grounding.asking.endpoints.connections import calling
from image_grounding.asking.endpoints.errors import scrub
from image_grounding.asking.endpoints.negotiation import Request
from image_grounding.asking.endpoints.openai import openai_headers, openai_key
from image_grounding.batch.lines import ENDPOINT, read_results, request_line
from image_grounding.batch.local_files import opened, write
from image_grounding.batch.queue import JobState, Limits, Result
from image_grounding.batch.transport import FileTransport
from image_grounding.errors import EndpointError, ServerFaultError
from image_grounding.images.encoding import EncodedImage
from image_grounding.run.estimate import BATCH_DISCOUNT
from image_grounding.spec import OpenAI
from image_grounding.spec.secrets import address_secrets

# The name of our mark among a job's metadata.
_MARK = "image_grounding_job"
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
# Jobs that are looked through for one that a crash made us lose; newest first.
_MOST_JOBS = 10_000
_PAGE = 100
# A request file of 200 MB, or what comes of it, takes its time.
_TRANSFER_S = 3600.0


class OpenAIQueue:
    """See ``Queue``."""

    name = "the batch queue (/v1/batches)"
    discount = BATCH_DISCOUNT
    gives_parts = False

    def __init__(self, settings: OpenAI, limits: Limits) -> None:
        self.limits = limits
        self._settings = settings
        key = openai_key(settings)
        self._secrets = (key, *settings.extra_secrets, *address_secrets(settings.base_url))
        self._headers = openai_headers(settings, key)
        self._client = openai.AsyncOpenAI(
            api_key=key,
            default_query=dict(settings.extra_query),
            base_url=settings.base_url,
            max_retries=0,
            timeout=_TRANSFER_S,
            http_client=httpx2.AsyncClient(
                transport=FileTransport(settings.base_url, self._secrets)
            ),
            organization="",
            project="",
        )

    async def line(self, key: str, request: Request, image: EncodedImage | None) -> bytes:
        """See ``Queue.line``; the picture is in the request."""
        return request_line(key, request.body)

    async def upload(self, tag: str, path: Path) -> str:
        """See ``Queue.upload``."""
        with opened(path, "rb") as file:
            async with self._our_errors(_TRANSFER_S):
                made = await self._client.files.create(
                    file=(path.name, file), purpose="batch", extra_headers=self._headers
                )
                return made.id

    async def submit(self, tag: str, file: str) -> str:
        """See ``Queue.submit``."""
        async with self._our_errors():
            batch = await self._client.batches.create(
                completion_window="24h",
                endpoint=ENDPOINT,
                input_file_id=file,
                metadata={_MARK: tag},
                extra_headers=self._headers,
            )
            return batch.id

    async def find(self, tag: str, file: str) -> str | None:
        """See ``Queue.find``."""
        async with self._our_errors():
            looked_at = 0
            async for batch in self._client.batches.list(limit=_PAGE, extra_headers=self._headers):
                looked_at += 1
                if (batch.metadata or {}).get(_MARK) == tag or batch.input_file_id == file:
                    return batch.id
                if looked_at >= _MOST_JOBS:
                    break
            return None

    async def poll(self, job: str) -> JobState:
        """See ``Queue.poll``."""
        batch = await self._batch(job)
        counts = batch.request_counts
        refused = ""
        if batch.status == "failed":
            problems = (batch.errors.data if batch.errors else None) or []
            texts = (f"{problem.code}: {problem.message}" for problem in problems[:3])
            refused = scrub("; ".join(texts), *self._secrets) or "no reason given"
        return JobState(
            batch.status,
            batch.status in _ENDED,
            (counts.completed if counts else 0) or 0,
            (counts.failed if counts else 0) or 0,
            refused,
        )

    async def fetch(self, job: str, tag: str, folder: Path) -> Sequence[Path]:
        """See ``Queue.fetch``: what was answered, and what failed."""
        batch = await self._batch(job)
        paths = []
        for kind, file in (("output", batch.output_file_id), ("errors", batch.error_file_id)):
            if file:
                paths.append(folder / f"{tag}.{kind}")
                await self._download(file, paths[-1])
        return paths

    def read(self, path: Path) -> Iterator[Result]:
        """See ``Queue.read``."""
        return read_results(path, self._secrets)

    async def cancel(self, job: str) -> None:
        """See ``Queue.cancel``."""
        async with self._our_errors():
            await self._client.batches.cancel(job, extra_headers=self._headers)

    def served(self, path: Path) -> None:
        """See ``Queue.served``."""
        path.unlink(missing_ok=True)

    async def tidy(self, file: str) -> None:
        """See ``Queue.tidy``."""
        with contextlib.suppress(EndpointError):
            async with self._our_errors():
                await self._client.files.delete(file, extra_headers=self._headers)

    async def close(self) -> None:
        """See ``Queue.close``."""
        await self._client.close()

    async def _batch(self, job: str) -> Batch:
        async with self._our_errors():
            return await self._client.batches.retrieve(job, extra_headers=self._headers)

    async def _download(self, file: str, path: Path) -> None:
        with opened(path, "wb") as out:
            async with (
                self._our_errors(_TRANSFER_S),
                self._client.files.with_streaming_response.content(
                    file, extra_headers=self._headers
                ) as answer,
            ):
                async for block in answer.iter_bytes():
                    write(out, block)

    @contextlib.asynccontextmanager
    async def _our_errors(self, seconds: float = 0.0) -> AsyncIterator[None]:
        """What the SDK raises, as our errors; bounded by ``seconds``, else by the timeout."""
        async with calling(self._settings.base_url, seconds or self._settings.timeout):
            try:
                yield
            except (ValueError, TypeError, AttributeError, RecursionError) as error:
                text = scrub(str(error), *self._secrets)
                raise ServerFaultError(f"the queue's answer cannot be read: {text}") from None
