# SPDX-License-Identifier: Apache-2.0
"""A spec as commented YAML: the same values give the same text."""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from image_grounding.files import write_atomic
from image_grounding.resources import load_schema
from image_grounding.spec import load_spec

_HEAD = """\
# Made by setup_wizard.py; edit it freely. Keys that are not here have their defaults, see
# specs/image_grounding.yaml. Secrets come from the environment: ${oc.env:NAME}.
"""
_COMMENT_COLUMN = 50
_PLAIN = re.compile(r"[A-Za-z./_][\w./:@+-]*", re.ASCII)


def render(values: Mapping[str, Any]) -> str:
    """YAML text, keys in the schema's order, each with what the schema says of it."""
    return _HEAD + "".join(f"{line}\n" for line in _lines(values, load_schema("spec"), ""))


def foreign_comments(text: str) -> list[str]:
    """The comments of a spec that ``render`` would not write: they get lost when it is edited."""
    notes = json.dumps(load_schema("spec"), ensure_ascii=False)
    comments = re.findall(r"(?:^|\s)#[ \t]*(\S.*)$", text, re.MULTILINE)
    return [comment for comment in comments if comment not in _HEAD and comment not in notes]


def _lines(values: Mapping[str, Any], schema: Mapping[str, Any], indent: str) -> Iterator[str]:
    known: Mapping[str, Any] = schema.get("properties", {})
    names = [name for name in known if name in values]
    for name in [*names, *(name for name in values if name not in known)]:
        value, sub = values[name], known.get(name, {})
        head = f"{indent}{_scalar(name)}:"
        if isinstance(value, dict) and value:
            yield head
            yield from _lines(value, sub, indent + "  ")
            continue
        line, note = f"{head} {_scalar(value)}", sub.get("description")
        yield f"{line:<{_COMMENT_COLUMN}}  # {note}" if note else line


def _scalar(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_scalar(item) for item in value)}]"
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) or re.fullmatch(r"\$\{oc\.env:\w+\}", value)
        if plain and _reads_as(value, value):
            return value
        style = '"'
    else:
        style = None
    text = yaml.safe_dump(
        value, default_style=style, default_flow_style=True, width=float("inf"), allow_unicode=True
    )
    return text.removesuffix("\n").removesuffix("\n...")


def _reads_as(text: str, value: str) -> bool:
    """Whether YAML text is that very string to OmegaConf, not a number or a boolean."""
    try:
        read = OmegaConf.to_container(OmegaConf.create(f"it: {text}"), resolve=False)
    except (OmegaConfBaseException, yaml.YAMLError):
        return False
    return read == {"it": value}


def check(text: str) -> None:
    """Raise SpecError unless ``text`` is a spec that runs; variables of keys may be unset."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "spec.yaml")
        write_atomic(path, text)
        load_spec(path, without_keys=True)
