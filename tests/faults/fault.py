# SPDX-License-Identifier: Apache-2.0
"""A row of the matrix: what is injected, and what must follow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from faults.stage import Stage

Inject = Callable[[Stage], None]
OPENAI, GEMINI = ("openai",), ("gemini",)
BOTH = (*OPENAI, *GEMINI)


@dataclass(frozen=True)
class Outcome:
    """What must follow a fault.

    Attributes:
        code: how the run ends; below 0 by a signal.
        sentence: the same in words, for references/reliability.md.
        words: what must be said, on a stream or in ``failures.jsonl``.
        failed: how many samples fail, by reason; None where that is not sure beforehand.
        most: requests that the endpoint may see, None for any number.
        reports: whether there is a JSON object on stdout.
    """

    code: int
    sentence: str
    words: str = ""
    failed: Mapping[str, int] | None = field(default_factory=dict)
    most: int | None = None
    reports: bool = True


@dataclass(frozen=True)
class Fault:
    """A row.

    Attributes:
        group: the table that it stands in.
        name: what is injected, in words.
        inject: arranges it.
        outcome: of the run that meets it.
        backends: each of these meets it.
        mend: what a user mends before the next run, beside input and pictures.
    """

    group: str
    name: str
    inject: Inject
    outcome: Outcome
    backends: tuple[str, ...] = OPENAI
    mend: Inject = lambda stage: None


def goes_on(how: str = "", words: str = "", most: int | None = None) -> Outcome:
    """Every sample is annotated."""
    sentence = f"every sample is annotated{f': {how}' if how else ''}{_quoted(words)}"
    return Outcome(0, sentence, words, most=most)


def fails(reason: str, words: str = "", count: int = 1) -> Outcome:
    """The sample fails alone."""
    who = "the sample fails" if count == 1 else f"{count} samples fail"
    sentence = f"{who} as `{reason}`{_quoted(words)}; all others are annotated"
    return Outcome(3, sentence, words, {reason: count})


def refuses(words: str, code: int = 2) -> Outcome:
    """Nothing is asked."""
    return Outcome(code, f"refused before anything is asked{_quoted(words)}", words, None, most=0)


def stops(words: str, code: int = 4) -> Outcome:
    """The run ends in good order, and no sample fails of it."""
    sentence = f"the run stops in good order{_quoted(words)}; no sample fails of it"
    return Outcome(code, sentence, words)


def dies(number: int) -> Outcome:
    """A signal ends the process at once."""
    sentence = "the process is gone; nothing that was finished is lost"
    return Outcome(-number, sentence, failed=None, reports=False)


def _quoted(words: str) -> str:
    return f" (`{words}`)" if words else ""
