# SPDX-License-Identifier: Apache-2.0
"""``dataset_card.md``: what an export holds, where it is from, what it is not good for.

Beside it ``README.md`` names the tables of the export to ``datasets.load_dataset``, which goes by
the endings of files otherwise, and makes a data set of nothing but pictures of copied images.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from image_grounding.exports.base import WHOLE
from image_grounding.files import clean_text, write_atomic

CARD, README = "dataset_card.md", "README.md"
_HUB_SPLITS = {WHOLE: "train", "val": "validation"}
_FOLDER = Path(__file__).resolve().parent


def write_card(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the card.

    Raises:
        OutputError: it cannot be written.
    """
    write_atomic(folder / CARD, _template().render(facts))


def write_readme(folder: Path, tables: Mapping[str, str], table_field: str) -> None:
    """Write ``README.md`` for the tables, file names by part; nothing where there are none.

    Args:
        folder: the export's.
        tables: file names by part.
        table_field: the key of the rows where a table is one JSON object.

    Raises:
        OutputError: it cannot be written.
    """
    if not tables:
        return
    lines = ["---", "configs:", "- config_name: default", "  data_files:"]
    for part, name in tables.items():
        lines += [f"  - split: {_HUB_SPLITS.get(part, part)}", f"    path: {name}"]
    lines += [f"  field: {table_field}"] if table_field else []
    lines += ["---", "", f"The data set is described in [{CARD}]({CARD}).", ""]
    write_atomic(folder / README, "\n".join(lines))


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
    line = " ".join(clean_text(value).replace("`", "'").split())
    return f"`{line}`" if line else "unknown"
