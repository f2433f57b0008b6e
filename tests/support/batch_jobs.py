# SPDX-License-Identifier: Apache-2.0
"""Batch jobs as providers run them: answered by the loopback's model, with faults to switch on."""

import base64
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.model import Model
from support.vision import look

# What a line is to fail with: a status and a message.
Failing = Callable[[str, dict[str, Any]], tuple[int, str] | None]


@dataclass
class Faults:
    """What goes wrong, in shares of the lines or as told.

    Attributes:
        polls: how often a job is looked at and has not ended.
        expired: share of the lines that the job's end leaves without an answer, said so.
        missing: share that is in no file at all.
        duplicated: share that stands there twice.
        foreign: lines of no question, in each job.
        reorder: lines come in another order.
        failing: a line's error, by its key and its body.
        text: what the model says in place of what it sees, by key; None for that.
        refusal: why a job is refused as a whole; asked with its number, from 0.
        too_late: whether a job expires before anything of it is answered, by its number.
    """

    polls: int = 0
    expired: float = 0.0
    missing: float = 0.0
    duplicated: float = 0.0
    foreign: int = 0
    reorder: bool = False
    failing: Failing = lambda key, body: None
    text: Callable[[str, str], str | None] = lambda key, prompt: None
    refusal: Callable[[int], str | None] = lambda number: None
    too_late: Callable[[int], bool] = lambda number: False


@dataclass
class Job:
    """A job on the server's side; ``lines`` are (key, outcome) with an outcome as providers say it.

    ``kind`` is its state in plain words: running, cancelled, expired, completed, refused.
    """

    id: str
    number: int
    mark: str
    file: str
    polls: int = 0
    kind: str = "running"
    problem: str = ""
    total: int = 0
    good: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    bad: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


class Floor:
    """Where jobs are worked on.

    Attributes:
        answered: how often a question was answered, by key: what is paid for.
        uploads: the kind of what is uploaded in parts, and what of it is there.
        pictures: how many were uploaded by themselves.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.faults = Faults()
        self.files: dict[str, bytes] = {}
        self.jobs: dict[str, Job] = {}
        self.answered: Counter[str] = Counter()
        self.uploads: dict[int, tuple[str, bytes]] = {}
        self.pictures = 0
        self._random = random.Random(7)

    def add_file(self, data: bytes, prefix: str = "file-") -> str:
        name = f"{prefix}{len(self.files) + 1:06d}"
        self.files[name] = data
        return name

    def add_job(self, mark: str, file: str) -> Job:
        job = Job(f"batch_{len(self.jobs) + 1:06d}", len(self.jobs), mark, file)
        job.total = self.files[file].count(b"\n")
        self.jobs[job.id] = job
        return job

    def look(self, job: Job, work: Callable[[Job], None]) -> None:
        """A client looks at a job; after some looks it has ended."""
        job.polls += 1
        if job.kind == "running" and job.polls > self.faults.polls:
            if problem := self.faults.refusal(job.number):
                job.kind, job.problem = "refused", problem
                return
            job.kind = "completed"
            if self.faults.too_late(job.number):
                job.kind = "expired"
                return
            work(job)
            self._disturb(job)

    def left_out(self) -> str:
        """What becomes of a line: "" for an answer, else ``expired`` or ``missing``."""
        drawn = self._random.random()
        if drawn < self.faults.expired:
            return "expired"
        return "missing" if drawn < self.faults.expired + self.faults.missing else ""

    def say(self, key: str, prompt: str, picture: bytes | None) -> str:
        """The model's answer to a question, which is paid for."""
        self.answered[key] += 1
        given = self.faults.text(key, prompt)
        if given is not None:
            return given
        return self.model.answer(prompt, look(picture) if picture is not None else None)

    def _disturb(self, job: Job) -> None:
        draw = self._random.random
        job.good += [line for line in job.good if draw() < self.faults.duplicated]
        job.good += [(f"foreign-{number}", job.good[0][1]) for number in range(self.faults.foreign)]
        if self.faults.reorder:
            self._random.shuffle(job.good)


def work_openai(floor: Floor, job: Job) -> None:
    """Answer the lines of a file of chat completions."""
    for raw in floor.files[job.file].splitlines():
        line = json.loads(raw)
        assert (line["method"], line["url"]) == ("POST", "/v1/chat/completions")
        outcome = openai_outcome(floor, line["custom_id"], line["body"])
        if outcome is None:
            continue
        if (outcome["error"] or {}).get("code") == "batch_expired":
            job.kind = "expired"
        is_good = outcome["response"] and outcome["response"]["status_code"] == 200
        (job.good if is_good else job.bad).append((line["custom_id"], outcome))


def openai_outcome(floor: Floor, key: str, body: dict[str, Any]) -> dict[str, Any] | None:
    """``response`` and ``error`` of a line; None where it is missing."""
    left_out = floor.left_out()
    if left_out == "missing":
        return None
    if left_out == "expired":
        message = "This request could not be executed before the completion window expired."
        return {"response": None, "error": {"code": "batch_expired", "message": message}}
    if failure := floor.faults.failing(key, body):
        status, message = failure
        answer = {"error": {"message": message, "type": "error", "code": status}}
        return {
            "response": {"status_code": status, "request_id": "r", "body": answer},
            "error": None,
        }
    content = body["messages"][0]["content"]
    prompt = "\n".join(part["text"] for part in content if part["type"] == "text")
    urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    picture = base64.b64decode(urls[0].partition(",")[2]) if urls else None
    message = {"role": "assistant", "content": floor.say(key, prompt, picture)}
    answer = {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    }  # fmt: skip
    return {"response": {"status_code": 200, "request_id": "r", "body": answer}, "error": None}


def openai_file(lines: list[tuple[str, dict[str, Any]]]) -> bytes:
    """A result file."""
    rows = (
        {"id": f"batch_req_{number}", "custom_id": key, **outcome}
        for number, (key, outcome) in enumerate(lines)
    )
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def run_batch(floor: Floor, asked: Path, answered: Path, part: float = 1.0) -> None:
    """What ``vllm run-batch -i asked -o answered`` does, killed after a part of it.

    Results come in the order of the requests; the last one that is written is cut.
    """
    lines = asked.read_bytes().splitlines()
    rows = []
    for number, raw in enumerate(lines[: int(len(lines) * part)]):
        line = json.loads(raw)
        if (outcome := openai_outcome(floor, line["custom_id"], line["body"])) is None:
            continue
        response = outcome["response"]
        if response and response["status_code"] != 200:  # vLLM puts what went wrong into error
            outcome = {
                "response": {**response, "body": None},
                "error": response["body"]["error"]["message"],
            }
        rows.append({"id": f"vllm-{number}", "custom_id": line["custom_id"], **outcome})
    cut = '{"id": "vllm-9", "custom_id": "' if len(rows) < len(lines) else ""
    answered.write_text("".join(json.dumps(row) + "\n" for row in rows) + cut)
