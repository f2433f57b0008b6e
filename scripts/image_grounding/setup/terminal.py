# SPDX-License-Identifier: Apache-2.0
"""A person at a terminal, asked by questionary on stderr: stdout is for programs."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import questionary
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import Completer, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.layout.processors import ConditionalProcessor, PasswordProcessor
from prompt_toolkit.output import create_output
from prompt_toolkit.validation import ValidationError, Validator
from rich.console import Console
from rich.markup import escape

from image_grounding.setup.questions import InterviewQuestion
from image_grounding.setup.state import LooksLikeKeyError, Refused, State

_OTHER = "\x00other"


class _AsTyped(Validator):
    """Says under the line what is wrong with it so far."""

    def __init__(self, parse: Callable[[str], str]) -> None:
        self._parse = parse

    def validate(self, document: Document) -> None:
        """Raise ValidationError with the reason for a refusal."""
        try:
            self._parse(document.text)
        except Refused as refused:
            position = len(document.text)
            raise ValidationError(message=str(refused), cursor_position=position) from None


class Terminal:
    """Asks one question at a time; Ctrl-C and Ctrl-D raise KeyboardInterrupt."""

    def __init__(self) -> None:
        self._output = create_output(stdout=sys.stderr)

    def ask(self, question: InterviewQuestion, default: str, state: State) -> str:
        """The answer, parsed but not looked at."""
        choices = [
            questionary.Choice(f"{choice.value:<12} {choice.text}", choice.value)
            for choice in question.choices
        ]
        if not choices and question.offer:
            offered = question.offer(state)
            if offered:
                choices = [questionary.Choice(name, name) for name in offered]
                choices.append(questionary.Choice("another one", _OTHER))
        answer = self._select(question, choices, default) if choices else _OTHER
        return self._text(question, default, state) if answer == _OTHER else answer

    def confirm(self, text: str, default: bool) -> bool:
        """Whether they say yes; an interruption is a no."""
        question = questionary.confirm(text, default, auto_enter=False, output=self._output)
        try:
            return bool(question.unsafe_ask())
        except (EOFError, KeyboardInterrupt):
            return False

    @contextmanager
    def asking(self, server: str) -> Iterator[None]:
        """Show that an answer is awaited; what is typed meanwhile answers no question."""
        with _ignoring_keys(), Console(stderr=True).status(f"asking {escape(server)} ..."):
            yield

    def _select(
        self, question: InterviewQuestion, choices: list[questionary.Choice], default: str
    ) -> str:
        known = any(choice.value == default for choice in choices)
        return _answer(
            questionary.select(
                question.text,
                choices,
                default=default if known else None,
                use_search_filter=True,
                use_jk_keys=False,
                output=self._output,
            )
        )

    def _text(self, question: InterviewQuestion, default: str, state: State) -> str:
        completer: Completer | None = PathCompleter(expanduser=True) if question.is_path else None
        return _answer(
            questionary.text(
                question.text + ":",
                default,
                validate=_AsTyped(lambda text: question.answer(text, state)),
                completer=completer,
                input_processors=[
                    ConditionalProcessor(
                        PasswordProcessor(),
                        Condition(lambda: _is_key(get_app().current_buffer.text, question, state)),
                    )
                ],
                output=self._output,
            )
        )


def _is_key(text: str, question: InterviewQuestion, state: State) -> bool:
    try:
        question.answer(text, state)
    except Refused as refused:
        return isinstance(refused, LooksLikeKeyError)
    return False


@contextmanager
def _ignoring_keys() -> Iterator[None]:
    """What is typed within is neither shown nor kept; Ctrl-C is heard."""
    if sys.platform == "win32":
        import msvcrt

        try:
            yield
        finally:
            while msvcrt.kbhit():
                msvcrt.getwch()
    else:
        import termios

        before = termios.tcgetattr(sys.stdin)
        silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
        termios.tcsetattr(sys.stdin, termios.TCSANOW, silent)
        try:
            yield
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSAFLUSH, before)


def _answer(question: questionary.Question) -> str:
    try:
        return str(question.unsafe_ask())
    except EOFError:
        raise KeyboardInterrupt from None
