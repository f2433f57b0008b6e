# SPDX-License-Identifier: Apache-2.0
"""The interview: the table of questions against flags, a person, or both."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from image_grounding.errors import InputError
from image_grounding.setup.questions import QUESTIONS, InterviewQuestion, describe
from image_grounding.setup.state import Doubted, Refused, State


class Person(Protocol):
    """The person who answers on a terminal."""

    def ask(self, question: InterviewQuestion, default: str, state: State) -> str:
        """The answer to a question; raises KeyboardInterrupt where they interrupt."""
        ...


@dataclass(frozen=True)
class Missing:
    """A question without an answer; ``condition`` says when it is needed, "" for always."""

    name: str
    flag: str
    question: str
    choices: tuple[str, ...]
    condition: str

    def __str__(self) -> str:
        """A line for a person."""
        choices = f" ({', '.join(self.choices)})" if self.choices else ""
        condition = f"; needed if {self.condition}" if self.condition else ""
        return f"{self.flag} is missing: {self.question}{choices}{condition}"


@dataclass(frozen=True)
class Wrong:
    """An answer that cannot be used, and why; without the answer, which may be a secret."""

    name: str
    flag: str
    reason: str

    def __str__(self) -> str:
        """A line for a person."""
        return f"{self.flag}: {self.reason}"


class UnansweredError(InputError):
    """Answers are missing or wrong, and nobody is there to ask."""

    def __init__(self, missing: list[Missing], wrong: list[Wrong]) -> None:
        super().__init__("\n".join(map(str, (*wrong, *missing))))
        self.missing = missing
        self.wrong = wrong


class Interview:
    """One interview; ``run`` fills ``state.answers``.

    Args:
        given: texts of flags, by the question's name; these are not asked.
        state: where answers, and what is found out, go.
        person: is asked for the rest; None where nobody is there and defaults hold.
    """

    def __init__(self, given: Mapping[str, str], state: State, person: Person | None) -> None:
        self._given = given
        self._state = state
        self._person = person
        self._missing: list[Missing] = []
        self._wrong: list[Wrong] = []

    def run(self) -> None:
        """Go through the questions; raises UnansweredError with all that is missing or wrong."""
        for question in QUESTIONS:  # nobody is asked anything while a flag is plainly wrong
            if question.name in self._given:
                self._check_text(question)
        plainly_wrong = {answer.name for answer in self._wrong}
        for question in QUESTIONS:
            if self._person and self._wrong:
                break
            if question.name not in plainly_wrong:
                self._settle(question)
        if self._missing or self._wrong:
            raise UnansweredError(self._missing, self._wrong)

    def _check_text(self, question: InterviewQuestion) -> None:
        try:
            question.answer(self._given[question.name], self._state)
        except Refused as refused:
            self._note_wrong(question, refused)

    def _settle(self, question: InterviewQuestion) -> None:
        applies, text = question.applies(self._state), self._given.get(question.name)
        if text is not None:
            if applies is not False:
                self._record(question, text)
            elif question.depends_on_answers and text.strip() != question.implied:
                reason = f"it only counts if {describe(question.condition)}"
                self._note_wrong(question, Refused(reason))
        elif applies and self._person:
            self._ask(question, self._person)
        elif applies:
            default = question.default(self._state)
            if default is None:
                self._note_missing(question, "")
            else:
                self._record(question, default)
        elif still_open := question.open_conditions(self._state):
            self._note_missing(question, describe(still_open))

    def _ask(self, question: InterviewQuestion, person: Person) -> None:
        """Until there is a good answer, or a doubtful one for the second time."""
        text, doubted = question.default(self._state) or "", None
        while True:
            text = person.ask(question, text, self._state)
            try:
                return self._accept(question, text, insists=text == doubted)
            except Doubted as doubt:
                doubted = text
                self._state.say(f"  {doubt} (the same answer again keeps it)")
            except Refused as refused:
                self._state.say(f"  {refused}")

    def _record(self, question: InterviewQuestion, text: str) -> None:
        """Keep an answer, or note why it is wrong: nobody can be asked again."""
        try:
            self._accept(question, text, insists=None)
        except Refused as refused:
            self._note_wrong(question, refused)

    def _accept(self, question: InterviewQuestion, text: str, *, insists: bool | None) -> None:
        """Keep a good answer, and a doubtful one with a warning.

        A doubtful answer is kept where the person insists, or (None) where there is nobody to ask
        and no flag for it.
        """
        answer = question.answer(text, self._state)
        try:
            if question.look:
                question.look(answer, self._state)
        except Doubted as doubt:
            if not (insists or (insists is None and not doubt.needs_flag)):
                raise
            if not doubt.needs_flag:
                self._state.warn(f"{question.flag}: {doubt}")
        self._state.answers[question.name] = answer

    def _note_wrong(self, question: InterviewQuestion, refused: Refused) -> None:
        self._wrong.append(Wrong(question.name, question.flag, str(refused)))

    def _note_missing(self, question: InterviewQuestion, condition: str) -> None:
        choices = tuple(choice.value for choice in question.choices)
        if question.offer and not condition:
            choices = question.offer(self._state)
        self._missing.append(
            Missing(question.name, question.flag, question.text, choices, condition)
        )


def as_plain(error: UnansweredError) -> dict[str, list[dict[str, Any]]]:
    """What is missing and wrong, as JSON."""
    return {
        "missing": [{**vars(item), "choices": list(item.choices)} for item in error.missing],
        "wrong": [dict(vars(item)) for item in error.wrong],
    }
