# SPDX-License-Identifier: Apache-2.0
"""Which question is held by which job, and what came back: one SQLite file in the results folder.

Written ahead: a job stands here with its questions before it is submitted, so that no crash makes
a question unknown or has it asked twice. Each change is one transaction.
"""

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from image_grounding.asking.endpoints.negotiation import Terms
from image_grounding.batch import sql
from image_grounding.batch.queue import JobState, Result
from image_grounding.batch.stored import error_of, plain_error
from image_grounding.errors import EndpointError, JobEndedError, OutputError
from image_grounding.plain import from_plain, to_plain
from image_grounding.results.run_state import now_text
from image_grounding.steps.question import Reply

FOLDER_NAME = "batch"
_FILE_NAME = "jobs.sqlite"
_NO_TERMS = Terms()
_NO_ANSWER = "the batch job ended before it answered this request"


@dataclass(frozen=True)
class Job:
    """A job of a queue.

    Attributes:
        tag: our own name for it, which the queue knows, too.
        file: what the queue calls its request file; None before it is uploaded.
        id: what the queue calls the job; None before it is known to be submitted.
        state: the queue's word, or ours before there is one.
        is_open: it holds questions.
        requests: how many.
        done: answered.
        failed: failed.
        since: when it was written, UTC.
        problem: why the queue took none of it.
    """

    tag: str
    file: str | None
    id: str | None
    state: str
    is_open: bool
    requests: int
    done: int = 0
    failed: int = 0
    since: str = ""
    problem: str = ""

    def plain(self) -> dict[str, Any]:
        """For a report."""
        return {**vars(self), "is_open": bool(self.is_open)}


@dataclass(frozen=True)
class Entry:
    """A question of a request file: its key, on which terms it is put, its schema's name."""

    key: str
    terms: Terms
    schema: str | None


@dataclass(frozen=True)
class Known:
    """What is known of a question.

    Attributes:
        held: a job has it.
        reply: what was answered.
        error: what became of it the last time, with the number of its ``attempts``.
        terms: on which it was put the last time.
    """

    held: bool = False
    reply: Reply | None = None
    error: EndpointError | None = None
    terms: Terms = _NO_TERMS


class Journal:
    """The jobs and questions of one results folder; ``with Journal(path) as journal``.

    Raises:
        OutputError: it cannot be read or written.
    """

    def __init__(self, results_dir: Path) -> None:
        self.folder = results_dir / FOLDER_NAME
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write to {self.folder}: {error.strerror}") from None
        with self._errors():
            self._db = sqlite3.connect(self.folder / _FILE_NAME, isolation_level=None)
            self._db.executescript(sql.TABLES)

    def __enter__(self) -> "Journal":
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._db.close()

    # -- facts -----------------------------------------------------------------------------------

    def fact(self, name: str) -> Any:
        """A value that was kept under a name, or None."""
        with self._errors():
            row = self._db.execute(sql.FACT, (name,)).fetchone()
        return json.loads(row[0]) if row else None

    def keep(self, name: str, value: Any) -> None:
        """Keep a JSON value under a name; None forgets it."""
        with self._transaction():
            self._db.execute(sql.FORGET, (name,))
            if value is not None:
                self._db.execute(sql.KEEP, (name, json.dumps(value)))

    # -- jobs ------------------------------------------------------------------------------------

    def jobs(self, *, only_open: bool = False) -> list[Job]:
        """All jobs, or those that hold questions, the oldest first."""
        with self._errors():
            rows = self._db.execute(sql.OPEN_JOBS if only_open else sql.JOBS).fetchall()
        return [Job(*row) for row in rows]

    def intend(self, tag: str, entries: Iterable[Entry]) -> Job:
        """Write down that a file of questions is about to become a job."""
        with self._transaction():
            rows = [(e.key, tag, _terms_text(e.terms), e.schema) for e in entries]
            job = Job(tag, None, None, "written", True, len(rows), since=now_text())
            self._db.execute(sql.ADD_JOB, _row(job))
            self._db.executemany(
                sql.ASK,
                rows,
            )
        return job

    def uploaded(self, tag: str, file: str) -> None:
        """The request file of a job is with the queue."""
        self._update(tag, file=file, state="uploaded")

    def submitted(self, tag: str, job: str) -> None:
        """A job is known to be with the queue."""
        self._update(tag, id=job, state="submitted")

    def seen(self, tag: str, state: JobState) -> None:
        """How a job is doing; counts only where its queue gives them."""
        counted = bool(state.done or state.failed)
        counts = {"done": state.done, "failed": state.failed} if counted else {}
        self._update(tag, state=state.word, **counts)

    def release(self, tag: str, problem: str, *, state: str | None = None) -> None:
        """A job was taken by nobody: its questions are as if they had not been asked with it."""
        with self._transaction():
            self._db.execute(sql.UNASK, (tag,))
            self._update(tag, is_open=False, problem=problem, **({"state": state} if state else {}))

    def collect(
        self,
        tag: str,
        results: Iterable[Result],
        *,
        ended: bool,
        adds: bool = False,
        count: Callable[[Result], None] = lambda result: None,
    ) -> int:
        """Take the result lines of a job in: the first reply to a question counts.

        Args:
            tag: of the job.
            results: its result lines; those of questions that it does not hold are passed over.
            ended: no more will come; what it still holds ended without an answer.
            adds: whether what is new is added to the job's counts, as its queue does not count.
            count: called with each that is new.

        Returns:
            How many lines belong to no question that was ever asked.
        """
        answered: dict[str, bool] = {}
        foreign = 0
        with self._transaction():
            for result in results:
                is_reply = isinstance(result.outcome, Reply)
                before = answered.get(result.key)
                if before is None and not self._holds(tag, result.key):
                    foreign += not self._knows(result.key)
                elif before is None or (is_reply and not before):
                    answered[result.key] = is_reply
                    self._db.execute(
                        sql.ANSWER,
                        (*_columns(result), result.key),
                    )
                    count(result)
            self._db.execute(
                sql.FREE,
                (tag,),
            )
            if adds:
                done = sum(answered.values())
                self._db.execute(sql.COUNT, (done, len(answered) - done, tag))
            if ended:
                error = plain_error(JobEndedError(_NO_ANSWER))
                self._db.execute(
                    sql.END,
                    (json.dumps(error), tag),
                )
                self._update(tag, is_open=False)
        return foreign

    # -- pictures --------------------------------------------------------------------------------

    def picture(self, digest: str, now: float) -> str | None:
        """Where an uploaded picture lies that can be used at ``now``; None where it is not."""
        with self._errors():
            row = self._db.execute(sql.PICTURE, (digest, now)).fetchone()
        return row[0] if row else None

    def keep_picture(self, digest: str, address: str, until: float) -> None:
        """Keep where an uploaded picture lies, and until when (seconds) it can be used."""
        with self._errors():
            self._db.execute(sql.KEEP_PICTURE, (digest, address, until))

    # -- questions -------------------------------------------------------------------------------

    def look_up(self, key: str) -> Known | None:
        """What is known of a question; None where it was never asked."""
        with self._errors():
            row = self._db.execute(sql.LOOK_UP, (key,)).fetchone()
        if row is None:
            return None
        job, asked, terms, reply, error = row
        found = error_of(json.loads(error)) if error else None
        if found:
            found.attempts = asked
        answered = from_plain(Reply, json.loads(reply)) if reply else None
        return Known(job is not None, answered, found, from_plain(Terms, json.loads(terms)))

    def held(self, tag: str) -> int:
        """How many questions a job holds."""
        with self._errors():
            found = self._db.execute(sql.HELD, (tag,))
            return int(found.fetchone()[0])

    def schemas_taken(self) -> list[str]:
        """Names of the reply schemas with which something was answered."""
        with self._errors():
            rows = self._db.execute(sql.SCHEMAS)
            return [row[0] for row in rows]

    def is_bound(self) -> bool:
        """Whether anything is under way, or has come back that may still have to be read."""
        with self._errors():
            return self._db.execute(sql.BOUND).fetchone() is not None

    def begin(self, name: str, identity: Mapping[str, Any]) -> None:
        """The first of several runs begins, and is kept; jobs of earlier ones are history."""
        with self._transaction():
            self._db.execute("DELETE FROM jobs WHERE NOT is_open")
        self.keep(name, identity)

    def clear(self) -> None:
        """Forget all questions and facts: the samples are through, their checkpoints have all."""
        with self._transaction():
            self._db.execute("DELETE FROM questions")
            self._db.execute("DELETE FROM facts")
            self._db.execute("DELETE FROM pictures")
        with self._errors():
            self._db.execute("VACUUM")

    # -- parts -----------------------------------------------------------------------------------

    def _holds(self, tag: str, key: str) -> bool:
        found = self._db.execute(sql.HOLDS, (key, tag))
        return found.fetchone() is not None

    def _knows(self, key: str) -> bool:
        found = self._db.execute(sql.KNOWS, (key,))
        return found.fetchone() is not None

    def _update(self, tag: str, **columns: Any) -> None:
        names = ", ".join(f"{name} = ?" for name in columns)
        with self._errors():
            self._db.execute(f"UPDATE jobs SET {names} WHERE tag = ?", (*columns.values(), tag))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, ValueError) as error:
            path = self.folder / _FILE_NAME
            raise OutputError(f"cannot use the journal of batch jobs {path}: {error}") from None


def jobs_in(results_dir: Path) -> list[dict[str, Any]]:
    """The jobs of a results folder, for a report; empty where there are none. Writes nothing."""
    path = results_dir / FOLDER_NAME / _FILE_NAME
    if not path.is_file():
        return []
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        ) as database:
            rows = database.execute(sql.JOBS).fetchall()
    except sqlite3.Error:
        return []
    return [Job(*row).plain() for row in rows]


def _row(job: Job) -> tuple[Any, ...]:
    return tuple(vars(job).values())


def _columns(result: Result) -> tuple[str | None, str | None]:
    """Reply and error as they are kept."""
    if isinstance(result.outcome, Reply):
        return json.dumps(to_plain(Reply, result.outcome)), None
    return None, json.dumps(plain_error(result.outcome))


def _terms_text(terms: Terms) -> str:
    return json.dumps(to_plain(Terms, terms))
