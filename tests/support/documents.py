# SPDX-License-Identifier: Apache-2.0
"""The documents read for tests: code blocks, tables, links, and rows that the code decides."""

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from image_grounding import errors
from image_grounding.inspection.checks import CHECKS
from image_grounding.resources import load_schema
from image_grounding.setup.answers import TAO_KEYS

ROOT = Path(__file__).resolve().parents[2]
REFERENCES = sorted((ROOT / "references").glob("*.md"))
DOCUMENTS = [
    ROOT / "SKILL.md",
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *REFERENCES,
    ROOT / "evals" / "README.md",
]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_OWN = "image_grounding."


def blocks(text: str) -> list[tuple[str, str]]:
    """Language and text of a document's code blocks."""
    return _FENCE.findall(text)


def prose(text: str) -> str:
    """A document without its code blocks."""
    return _FENCE.sub("", text)


def commands(text: str) -> Iterator[list[str]]:
    """The command lines of the ``bash`` blocks that start a script: its name and arguments."""
    for language, block in blocks(text):
        if language == "bash":
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words and re.fullmatch(r"python3?", words[0]):
                    assert re.fullmatch(r"scripts/\w+\.py", words[1]), line
                    yield [words[1].removeprefix("scripts/"), *words[2:]]


def cells(text: str) -> Iterator[list[str]]:
    """The rows of a document's tables."""
    for line in text.splitlines():
        if line.startswith("| ") and line.endswith(" |"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def configuration_rows() -> Iterator[str]:
    """What references/configuration.md must say of every key of the spec."""
    defaults = yaml.safe_load((ROOT / "specs" / "image_grounding.yaml").read_text())
    for key, schema in _leaves(load_schema("spec"), ""):
        if not schema.get("deprecated"):
            name, known = key.removeprefix(_OWN), "yes" if key in TAO_KEYS else ""
            yield (
                f"| `{name}` | {_default(defaults, key)} | {_values(schema)} | {known} | "
                f"{schema['description']} |"
            )


def check_rows() -> Iterator[str]:
    """What references/quality_review.md must say of every check."""
    for check in CHECKS:
        yield f"| `{check.name}` | {check.sentence} | {check.remedy} |"


@cache
def source() -> tuple[set[str], list[str]]:
    """The texts and the messages of the package's code, which is parsed once for both.

    A text is every piece that could be a message or part of one. A message is the longest fixed
    piece of a text in a function, whether raised or said: as an argument of one of the package's
    errors, or of three words and more, whichever way it takes to the user. Remedies and help are
    none.
    """
    texts, messages = set(), []
    package = ROOT / "scripts" / "image_grounding"
    for path in package.rglob("*.py"):
        speaks = not path.relative_to(package).as_posix().startswith(_SILENT)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
            elif speaks and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = 1 if ast.get_docstring(node) is not None else 0
                for statement in node.body[first:]:
                    messages += _messages_in(statement)
    return texts, messages


# Where texts are for models, for pages, or in a table of their own (questions, checks, advice).
_SILENT = (
    *("steps/prompts.py", "setup/questions.py", "exports/", "inspection/checks/"),
    *(
        "inspection/advice.py",
        "inspection/page/",
        "inspection/charts.py",
        "evaluation/plots.py",
        "measuring/",
        "replies/",
    ),
)
# Texts in code that says other things too: prompts, labels, patterns, and what cannot happen.
_NO_MESSAGES = {
    "Answer with one word: ready",
    "In one sentence of plain prose, say which colour fills this image",
    "%Y-%m-%d %H:%M UTC",
    "does not exist",
    '{"type":"image_url","image_url":{"url":"data',
    "the whole of it",
    "no reason given",
    "no model named",
    "wrong width or height",
    "what this endpoint takes",
    "Check the endpoint now?",
    "Make the Python environment that the other scripts need",
    "yes where results_dir holds finished samples, else no",
}
_NO_CALLS = {"compile", "search", "sub", "fullmatch", "AssertionError"}
_WORD = re.compile(r"(?<![\w.-])[A-Za-z][a-z']*(?![\w.-])")


def _messages_in(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):  # has its own turn
        return
    if isinstance(node, ast.keyword) and node.arg in ("help", "remedy"):
        return
    if isinstance(node, ast.Assign) and "remedy" in _name(node.targets[0]):
        return
    children = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.Call):
        called = _name(node.func)
        if called in _NO_CALLS:
            return
        if called in _RAISED:
            yield from (text for one in node.args if (text := _fixed(one)))
        elif called == "Step":  # name, status, message, remedy
            children = [*node.args[:3], *node.keywords]
    if text := _fixed(node):
        if len(_WORD.findall(text)) >= 3 and text not in _NO_MESSAGES:
            yield text
        children = [one for one in children if not isinstance(one, ast.Constant)]
    for child in children:
        yield from _messages_in(child)


_RAISED = {name for name, one in vars(errors).items() if isinstance(one, type)}
_RAISED |= {"Refused", "Doubted", "SetupError", "UsageError", "_cannot_start"}


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _fixed(node: ast.AST) -> str:
    """The longest fixed piece of a text, "" where it is none or hardly one."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    texts = [one.value for one in parts
             if isinstance(one, ast.Constant) and isinstance(one.value, str)]  # fmt: skip
    longest = max(texts, key=len, default="").strip(" ():;,.\n")
    return longest if len(longest) > 3 else ""


def _leaves(schema: dict[str, Any], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, sub in schema["properties"].items():
        if "properties" in sub:
            yield from _leaves(sub, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", sub


def _default(defaults: Any, key: str) -> str:
    for name in key.split("."):
        defaults = defaults[name]
    if defaults == "???":
        return "required"
    if isinstance(defaults, str):
        return f"`{defaults}`" if defaults else '`""`'
    text = yaml.safe_dump(defaults, default_flow_style=True, default_style=None).strip()
    return f"`{text.removesuffix('...').strip()}`"


def _values(schema: dict[str, Any]) -> str:
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{str(one).lower() if one in (True, False) else one}`"
                         for one in schema["enum"])  # fmt: skip
    if "anyOf" in schema:
        return " or ".join(_values(one) for one in schema["anyOf"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    text = "mapping" if kinds == ["object"] else " or ".join(kinds)
    text = "list of strings" if kinds == ["array"] else text
    low, above, high = (schema.get(n) for n in ("minimum", "exclusiveMinimum", "maximum"))
    if low is not None and high is not None:
        return f"{text}, {low} to {high}"
    bounds = [f"at least {low}"] if low is not None else []
    bounds += [f"above {above}"] if above is not None else []
    bounds += [f"at most {high}"] if high is not None else []
    return ", ".join([text, *bounds])
