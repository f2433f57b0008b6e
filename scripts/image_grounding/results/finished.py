# SPDX-License-Identifier: Apache-2.0
"""Which samples were finished when outputs were written, in 18 bytes of memory a sample.

A later run that meets the same caption, image file and checkpoints takes a sample for finished
without reading what is kept of it. What was kept since then is looked at as ever.
"""

import contextlib
import hashlib
import json
import os
import sys
from array import array
from base64 import b64decode, b64encode
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from image_grounding import __version__
from image_grounding.errors import OutputError
from image_grounding.input.samples import Sample
from image_grounding.results.checkpoints import CheckpointStore, Finished
from image_grounding.results.folder import ResultsFolder
from image_grounding.results.segments import SegmentState, key_of
from image_grounding.steps.step import Earlier
from image_grounding.steps.table import AnyStep
from image_grounding.storage.address import is_address

_NAME = ".finished.json"
# What made the steps of a sample: a provenance for each of them.
MadeBy = tuple[Mapping[str, Any], ...]
# What a provenance may hold.
_Fact = str | int | float | bool | None
# As many kinds of ``MadeBy`` as 16 bits can tell apart.
_MOST_KINDS = 1 << 16


@dataclass(frozen=True)
class _Kept:
    """The index as it stands in its file. A figure that is wrong finds no sample.

    Attributes:
        made_from: version, byte order and steps.
        segments: state of the segments of each step, by its number.
        kinds: provenances of each step.
        keys: of the samples' ids, in order; in base64, as all figures: 8 bytes each.
        marks: see ``_mark``; 8 bytes each.
        made: the place in ``kinds``; 2 bytes each.
    """

    made_from: tuple[str, ...]
    segments: Mapping[str, list[SegmentState]]
    kinds: list[list[dict[str, _Fact]]]
    keys: str
    marks: str
    made: str


class FinishedIndex:
    """Finished samples by the keys of their ids.

    Args:
        steps: those of the run, in order.
        kept: what there is.
        newer: keys of samples of which something was kept or discarded since.

    Raises:
        ValueError: ``kept`` holds no figures.
    """

    def __init__(self, steps: Sequence[AnyStep], kept: _Kept, newer: frozenset[int]) -> None:
        self.kinds: list[MadeBy] = [tuple(kind) for kind in kept.kinds]
        self._step = steps[0]
        self._newer = newer
        self._keys = array("Q", b64decode(kept.keys))
        self._marks = array("Q", b64decode(kept.marks))
        self._made = array("H", b64decode(kept.made))
        same = len(self._keys) == len(self._marks) == len(self._made)
        same &= {len(kind) for kind in self.kinds} <= {len(steps)}
        if not same or max(self._made, default=-1) >= len(self.kinds):
            raise ValueError

    def find(self, sample: Sample) -> int | None:
        """Which of ``kinds`` made all steps of a sample; None where that must be looked at."""
        key = key_of(sample.sample_id)
        if key is None or key in self._newer:
            return None
        at = bisect_left(self._keys, key)
        if at == len(self._keys) or self._keys[at] != key:
            return None
        return self._made[at] if self._marks[at] == _mark(self._step, sample) else None


class IndexMaker:
    """Collects the finished samples of outputs that are being written.

    Args:
        steps: those of the run, in order.
    """

    def __init__(self, steps: Sequence[AnyStep]) -> None:
        self._steps = steps
        self._kinds: dict[str, int] = {}
        self._keys, self._marks, self._made = array("Q"), array("Q"), array("H")

    def mark(self, sample: Sample) -> int | None:
        """To be taken before the sample's checkpoints are looked at; None where it has none."""
        remote = sample.given or is_address(sample.image)
        return None if remote or sample.occurrence > 1 else _mark(self._steps[0], sample)

    def add(self, sample: Sample, mark: int, done: Finished) -> None:
        """Take in a sample if all its steps are done."""
        key = key_of(sample.sample_id)
        if key is None or len(done.checkpoints) < len(self._steps):
            return
        made = json.dumps([dict(found.provenance) for found in done.checkpoints.values()])
        kind = self._kinds.setdefault(made, len(self._kinds))
        if kind < _MOST_KINDS:
            self._keys.append(key)
            self._marks.append(mark)
            self._made.append(kind)

    def save(self, folder: ResultsFolder, stores: Sequence[CheckpointStore[Any]]) -> None:
        """Write the index, if the disk takes it: without one, more is read.

        Args:
            folder: the results.
            stores: the checkpoints that the samples were found in.
        """
        segments = _segments(stores)
        if segments is None:
            return
        order = sorted(range(len(self._keys)), key=self._keys.__getitem__)
        columns = (self._keys, self._marks, self._made)
        figures = (
            b64encode(array(column.typecode, map(column.__getitem__, order))).decode()
            for column in columns
        )
        kinds = [json.loads(kind) for kind in self._kinds]
        kept = _Kept(_made_from(self._steps), segments, kinds, *figures)
        with contextlib.suppress(OutputError):
            folder.write_value(_NAME, _Kept, kept)


def load_index(
    folder: ResultsFolder, stores: Mapping[AnyStep, CheckpointStore[Any]]
) -> FinishedIndex | None:
    """The index of a results folder; None where there is none that holds for these steps."""
    kept = folder.read_value(_NAME, _Kept)
    if kept is None or kept.made_from != _made_from(list(stores)):
        return None
    newer: set[int] = set()
    try:
        for step, store in stores.items():
            keys = store.keys_since(kept.segments.get(step.number, ()))
            if keys is None:
                return None
            newer |= keys
        return FinishedIndex(list(stores), kept, frozenset(newer))
    except (OSError, ValueError):
        return None


def _made_from(steps: Sequence[AnyStep]) -> tuple[str, ...]:
    return (__version__, sys.byteorder, *(step.number for step in steps))


def _segments(stores: Iterable[CheckpointStore[Any]]) -> dict[str, list[SegmentState]] | None:
    """Of each step; None where one has checkpoints elsewhere, too."""
    states = {}
    for store in stores:
        state = store.state()
        if state is None:
            return None
        states[store.step.number] = state
    return states


def _mark(step: AnyStep, sample: Sample) -> int:
    """64 bits that are others where the caption or the image file is another."""
    try:
        status = os.stat(sample.image)
        file = f"{status.st_size} {status.st_mtime_ns}"
    except (OSError, ValueError):  # gone: what was made from it stands
        file = "gone"
    facts = f"{step.basis(sample, Earlier())} {file}".encode()
    return int.from_bytes(hashlib.blake2b(facts, digest_size=8).digest())
