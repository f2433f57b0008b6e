# SPDX-License-Identifier: Apache-2.0
"""What a run has kept of its steps, read and edited as files, without the product's own code."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDERS = {"0": "step_0_expression_extraction", "1": "step_1_grounding", "2": "step_2_toy"}


def checkpoints(results: Path, step: str) -> dict[str, dict[str, Any]]:
    """The checkpoints of a step that count, by sample id."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((results / FOLDERS[step] / ".ckpt").glob("segment-*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n") and line.startswith('{"sample_id": ') and "}" in line:
                value = json.loads(line)
                found.pop(value["sample_id"], None)
                found |= {} if "gone" in value else {value["sample_id"]: value}
    return found


def replace_checkpoints(results: Path, step: str, lines: list[str]) -> None:
    """Leave these lines, and nothing else, as the checkpoints of a step."""
    folder = results / FOLDERS[step] / ".ckpt"
    for path in folder.iterdir():
        path.unlink()
    text = "".join(f"{line}\n" for line in lines)
    path = folder / "segment-00001.jsonl"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")


def edit_checkpoints(results: Path, step: str, edit: Callable[[str, Any], Any]) -> None:
    """Put what ``edit`` makes of each id and checkpoint in its place: a value, a line, or None."""
    made = [edit(sample_id, value) for sample_id, value in checkpoints(results, step).items()]
    lines = [value if isinstance(value, str) else json.dumps(value) for value in made if value]
    replace_checkpoints(results, step, lines)


def give_each_a_file(results: Path, step: str) -> list[Path]:
    """Keep the checkpoints of a step as they once were, each in a file of its own."""
    kept = checkpoints(results, step)
    replace_checkpoints(results, step, [])
    folder = results / FOLDERS[step] / ".ckpt"
    (folder / "segment-00001.jsonl").unlink()
    paths = [folder / f"{sample_id}.json" for sample_id in kept]
    for path, value in zip(paths, kept.values(), strict=True):
        path.write_text(json.dumps(value), encoding="utf-8")
    return paths
