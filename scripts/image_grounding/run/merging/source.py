# SPDX-License-Identifier: Apache-2.0
"""The input that merged results are of."""

import filecmp
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from image_grounding.errors import InputError
from image_grounding.files import copy_atomic, require_file
from image_grounding.input.samples import SampleReader
from image_grounding.results.folder import ResultsFolder
from image_grounding.run.merging.parts import Part
from image_grounding.steps.table import AnyStep, given_steps
from image_grounding.storage.address import is_address, problem_with_lines_at, root_of


def data_of(part: Part) -> dict[str, Any]:
    """The section ``data`` of a part's spec, its paths from here; empty where it is not known."""
    found: Any = part.summary.get("spec")
    for name in ("image_grounding", "data"):
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        return {}
    there = str(part.summary.get("working_folder") or "")
    paths = {
        name: value if is_address(value) else os.path.join(there, value)
        for name in ("input_jsonl", "image_root")
        if isinstance(value := found.get(name), str) and value
    }
    return {**found, **paths}


def input_of(
    parts: Sequence[Part],
    steps: Sequence[AnyStep],
    given: Path | str | None,
    image_root: str | None,
) -> SampleReader:
    """The input that all parts went through.

    Args:
        parts: what is merged.
        steps: that were done, in order.
        given: in place of the input that the parts name; a file, or its address in a store.
        image_root: in place of the one that they name.

    Raises:
        InputError: they name different ones, or none.
    """
    sections = [section for part in parts if (section := data_of(part))]
    first = sections[0] if sections else {}
    root = str(first.get("image_root") or "") if image_root is None else image_root
    reader = partial(
        SampleReader,
        outside=bool(first.get("allow_outside_root", False)),
        addresses=bool(first.get("allow_urls", False)),
    )
    if needed := given_steps(steps):
        path = _records_of(parts, needed[-1])
        root = root_of(root, str(first.get("input_jsonl") or ""))
        return reader(path, root, identity=needed[-1].identity)
    named = sorted({str(section.get("input_jsonl")) for section in sections})
    if given is None and len(named) > 1:
        raise InputError(f"the results are of different inputs ({', '.join(named)}): give --input")
    if given is None and not named:
        raise InputError("no run in these results came to its end, so that --input must be given")
    source = given or named[0]
    if not is_address(source):
        return reader(Path(source), root)
    if problem := problem_with_lines_at(str(source)):
        raise InputError(f"cannot read the input {source}: {problem}")
    return reader(source, root_of(root, str(source)))


def _records_of(parts: Sequence[Part], step: AnyStep) -> Path:
    """The records that later steps alone were given; they must be the same in all parts."""
    paths = [part.folder.records(step) for part in parts]
    try:
        for path in paths:
            require_file(path)
        same = all(filecmp.cmp(paths[0], path, shallow=False) for path in paths[1:])
    except OSError as error:
        raise InputError(f"cannot read the input {error.filename}: {error.strerror}") from None
    if not same:
        raise InputError(
            f"step {step.number} is not of these runs, and its records in them are not the same: "
            "merge the runs that made them, or give each part all of them"
        )
    return paths[0]


def keep_given(source: SampleReader, folder: ResultsFolder, steps: Sequence[AnyStep]) -> None:
    """Put records that later steps were given where a run into ``folder`` looks for them.

    Raises:
        OutputError: they cannot be written.
    """
    if needed := given_steps(steps):
        copy_atomic(Path(source.path), folder.records(needed[-1]))
