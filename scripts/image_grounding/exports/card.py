# SPDX-License-Identifier: Apache-2.0
"""``dataset_card.md``: what an export holds, where it is from, what it is not good for."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from image_grounding.exports.base import unpaired_replaced
from image_grounding.files import write_atomic

CARD = "dataset_card.md"
_FOLDER = Path(__file__).resolve().parent


def write_card(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the card.

    Raises:
        OutputError: it cannot be written.
    """
    write_atomic(folder / CARD, _template().render(facts))


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        finalize=_finalize,
        autoescape=False,  # for HTML; _finalize makes every value inert in Markdown
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template("card.md.j2")


def _finalize(value: object) -> object:
    """Text as a code span, in which Markdown and HTML mean nothing."""
    if isinstance(value, Markup):  # a sentence of our own
        return value
    if not isinstance(value, str):
        return "unknown" if value is None else value
    line = " ".join(unpaired_replaced(value).replace("`", "'").split())
    return f"`{line}`" if line else "unknown"
