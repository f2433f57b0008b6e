# SPDX-License-Identifier: Apache-2.0
"""Gemini's batch mode and files API on the loopback server."""

import json
import re
from typing import Any
from urllib.parse import parse_qs

from support.batch_jobs import Floor, Job

_STATES = {
    "running": "RUNNING",
    "completed": "SUCCEEDED",
    "refused": "FAILED",
    "cancelled": "CANCELLED",
    "expired": "EXPIRED",
}
_HTTP_TO_RPC = {400: 3, 401: 16, 429: 8, 500: 13, 503: 14}


def is_gemini(path: str) -> bool:
    return bool(
        path.startswith(("/upload/", "/v1beta/files/", "/v1beta/batches"))
        or path.endswith(":batchGenerateContent")
    )


def start_upload(floor: Floor, body: bytes, headers: Any, host: str) -> tuple[Any, dict[str, str]]:
    """A resumable upload begins; its parts go to another address."""
    number = len(floor.uploads) + 1
    floor.uploads[number] = (headers["x-goog-upload-header-content-type"], b"")
    assert "file" in json.loads(body)
    assert headers["x-goog-upload-command"] == "start"
    assert int(headers["x-goog-upload-header-content-length"]) >= 0
    address = f"http://{host}/upload/session/{number}"
    return {}, {"x-goog-upload-url": address, "x-goog-upload-status": "active"}


def go_on(floor: Floor, path: str, body: bytes, headers: Any) -> tuple[Any, dict[str, str]]:
    """A part of an upload, the last one with ``finalize``."""
    number = int(path.rpartition("/")[2])
    kind, before = floor.uploads[number]
    assert int(headers["x-goog-upload-offset"]) == len(before)
    floor.uploads[number] = (kind, before + body)
    if "finalize" not in headers["x-goog-upload-command"]:
        return {}, {"x-goog-upload-status": "active"}
    name = floor.add_file(before + body, "files/f")
    if kind.startswith("image/"):
        floor.pictures += 1
    file = {
        "name": name,
        "uri": f"https://files.test/v1beta/{name}",
        "mimeType": kind,
        "sizeBytes": str(len(before + body)),
        "state": "ACTIVE",
    }
    return {"file": file}, {"x-goog-upload-status": "final"}


def get(floor: Floor, path: str, query: str) -> Any:
    """What a GET gives; None where there is nothing."""
    if found := re.fullmatch(r"/v1beta/(files/\w+):download", path):
        return floor.files.get(found[1])
    if path == "/v1beta/batches":
        asked = parse_qs(query)
        jobs = list(reversed(floor.jobs.values()))
        start = int(asked.get("pageToken", ["0"])[0])
        size = int(asked["pageSize"][0])
        more = {"nextPageToken": str(start + size)} if start + size < len(jobs) else {}
        return {"operations": [_plain(job) for job in jobs[start : start + size]], **more}
    job = floor.jobs.get(path.removeprefix("/v1beta/batches/"))
    if job is None:
        return None
    floor.look(job, lambda job: _work(floor, job))
    if job.kind == "completed":
        rows = ({"key": key, **outcome} for key, outcome in job.good)
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        floor.files.setdefault(_output(job), lines.encode())
    return _plain(job)


def post(floor: Floor, path: str, body: bytes) -> Any:
    """What a POST gives; None where there is nothing."""
    if path.endswith(":batchGenerateContent"):
        asked = json.loads(body)["batch"]
        file = asked["inputConfig"]["fileName"]
        return _plain(floor.add_job(asked["displayName"], file)) if file in floor.files else None
    job = floor.jobs.get(path.removeprefix("/v1beta/batches/").removesuffix(":cancel"))
    if job is None:
        return None
    if job.kind != "running":
        return 400, {"error": {"code": 400, "message": f"the batch is {job.kind}"}}
    job.kind = "cancelled"
    return {}


def _work(floor: Floor, job: Job) -> None:
    for raw in floor.files[job.file].splitlines():
        line = json.loads(raw)
        outcome = _outcome(floor, line["key"], line["request"])
        if outcome:
            job.good.append((line["key"], outcome))


def _outcome(floor: Floor, key: str, request: dict[str, Any]) -> dict[str, Any] | None:
    assert request["generationConfig"]["maxOutputTokens"] > 0
    left_out = floor.left_out()
    if left_out == "missing":
        return None
    if left_out == "expired":
        return {"error": {"code": 4, "message": "Deadline expired before it was answered"}}
    if failure := floor.faults.failing(key, request):
        status, message = failure
        return {"error": {"code": _HTTP_TO_RPC[status], "message": message}}
    texts, picture = [], None
    for part in request["contents"][0]["parts"]:
        if "fileData" in part:
            name = part["fileData"]["fileUri"].removeprefix("https://files.test/v1beta/")
            if name not in floor.files:
                gone = f"You do not have permission to access the File {name} or it may not exist."
                return {"error": {"code": 7, "message": gone}}
            picture = floor.files[name]
        else:
            texts.append(part["text"])
    text = floor.say(key, "\n".join(texts), picture)
    answer = {
        "candidates": [{"content": {"role": "model", "parts": [{"text": text}]},
                        "finishReason": "STOP", "index": 0, "news": "of a later version"}],
        "usageMetadata": {"promptTokenCount": 100, "candidatesTokenCount": 20},
        "modelVersion": "m", "responseId": "r",
    }  # fmt: skip
    return {"response": answer}


def _output(job: Job) -> str:
    return f"files/{job.id.replace('_', '')}out"


def _plain(job: Job) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "@type": "type.googleapis.com/google.ai.generativelanguage.v1beta.GenerateContentBatch",
        "displayName": job.mark, "state": f"BATCH_STATE_{_STATES[job.kind]}",
        "model": "models/test-vlm", "batchStats": {"requestCount": str(job.total)},
    }  # fmt: skip
    if job.kind == "completed":
        metadata["output"] = {"responsesFile": _output(job)}
    done = job.kind != "running"
    return {"name": f"batches/{job.id}", "metadata": metadata, **({"done": True} if done else {})}
