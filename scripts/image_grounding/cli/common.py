# SPDX-License-Identifier: Apache-2.0
"""What all tools share: one JSON object on stdout, messages on stderr, exit codes."""

import contextlib
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from image_grounding.errors import Exit, ImageGroundingError, InputError
from image_grounding.files import clean_json
from image_grounding.terminal import outlast_readers, printable

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class LateChoice(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """One of some values that are looked up only when one is given: ``--help`` loads nothing.

    Args:
        module: where the values are.
        name: of a collection of them, or of a function that gives one.
        more: values besides.
    """

    name = "choice"

    def __init__(self, module: str, name: str, *more: str) -> None:
        self._module, self._name, self._more = module, name, more

    def values(self) -> list[str]:
        """The values, in order."""
        found = getattr(import_module(self._module), self._name)
        return [*self._more, *(found() if callable(found) else found)]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As ``click.Choice``."""
        return click.Choice(self.values()).convert(value, param, ctx)


class ResultsPath(click.ParamType):  # type: ignore[type-arg]
    """A results folder, or a file of records; what is at an address is fetched."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The folder as it is, or one with what is at the address."""
        if isinstance(value, str) and "://" in value:
            from image_grounding.run.remote import pulled_results

            return pulled_results(value)
        return Path(value)


class FolderPath(click.ParamType):  # type: ignore[type-arg]
    """A folder on this machine; an address is refused, before a folder of that name is made."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The folder."""
        if isinstance(value, str) and "://" in value:
            self.fail(f"{value} is an address; results are merged in folders alone", param, ctx)
        return Path(value)


class InputPath(click.ParamType):  # type: ignore[type-arg]
    """A file, or its address in a store."""

    name = "path"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path | str:
        """The file, or the address as it is."""
        return value if isinstance(value, str) and "://" in value else Path(value)


def output_needed(results_dir: Path, output: Path | None) -> None:
    """What is written beside results needs another place where these are at an address.

    Raises:
        click.UsageError: none is given.
    """
    from image_grounding.run.remote import address_of

    if output is None and address_of(results_dir):
        raise click.UsageError("the results are at an address: -o must name a folder")


class Tool(click.Command):
    """A command whose usage errors, too, are a JSON object on stdout."""

    def __call__(self) -> Any:
        """Run it with the process's arguments and exit."""
        outlast_readers()
        with reporting_errors():
            _find_folder()
            self._start()

    def _start(self) -> None:
        try:
            sys.exit(self.main(standalone_mode=False) or Exit.DONE)
        except click.ClickException as error:
            error.show()
            message, code = error.format_message(), error.exit_code
            print_json({"status": "error", "exit_code": code, "error": message})
            sys.exit(code)
        except click.Abort:
            sys.exit(Exit.INTERRUPTED)


def _find_folder() -> None:
    """Relative paths start from the current folder; without one they mean nothing."""
    try:
        os.getcwd()
    except OSError:
        raise InputError("the current folder is gone; change to one that is there") from None


def print_json(value: Any) -> None:
    """Print the tool's one JSON object."""
    click.echo(clean_json(value, indent=2))


@contextlib.contextmanager
def reporting_errors() -> Iterator[None]:
    """What a user can cause ends with a message and a JSON object, never a traceback."""
    try:
        yield
    except ImageGroundingError as error:
        fail(error.exit_code, error)
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)


def error_facts(error: ImageGroundingError) -> dict[str, str]:
    """An error, and what to do about it where that is known, for a JSON object."""
    remedy = getattr(error, "remedy", None)
    return {"error": str(error), **({"remedy": remedy} if remedy else {})}


def say_error(error: ImageGroundingError) -> None:
    """The same on stderr."""
    for name, text in error_facts(error).items():
        click.echo(f"{name}: {printable(text)}", err=True)


def fail(code: Exit, error: ImageGroundingError) -> None:
    """Say an error on stderr and, for programs, on stdout; exit."""
    say_error(error)
    print_json({"status": "error", "exit_code": int(code), **error_facts(error)})
    sys.exit(code)
