# SPDX-License-Identifier: Apache-2.0
"""Finished samples from one results folder into another."""

from collections.abc import Sequence
from typing import Any

from image_grounding.errors import InputError, SampleError
from image_grounding.first_few import FirstFew
from image_grounding.input.samples import BadLine, Sample, SampleReader
from image_grounding.input.shard import Shard
from image_grounding.results.checkpoints import CheckpointStore, Finished, load_finished
from image_grounding.results.folder import ResultsFolder
from image_grounding.run.merging.parts import Part
from image_grounding.steps.step import Earlier
from image_grounding.steps.table import AnyStep

Stores = list[CheckpointStore[Any]]
Entry = tuple[Part, Stores]
_WHOLE = Shard(1, 1)


def stores_of(folder: ResultsFolder, steps: Sequence[AnyStep]) -> Stores:
    """The checkpoints of these steps."""
    return [folder.checkpoints(step) for step in steps]


def copy_finished(sample: Sample, source: Stores, target: Stores) -> int:
    """Copy what is done of a sample; to how many of the steps.

    What an earlier merge put there of the other steps is forgotten.
    """
    try:
        earlier: Earlier | None = load_finished(sample, source, recall=False).earlier
    except SampleError:  # a given record that holds no result
        earlier = None
    copied = 0
    for mine, theirs in zip(target, source, strict=True):
        found = theirs.load(sample, earlier, replies=True) if earlier else None
        if found is None or earlier is None:
            earlier = None
            mine.discard(sample)
        else:
            if mine.load(sample, earlier, replies=True) != found:
                mine.save(sample, found)
            earlier = earlier.plus(theirs.step, found.result)
            copied += 1
    return copied


class Choice:
    """Which of the parts a sample's results are taken from.

    Args:
        parts: what is merged.
        steps: that were done, in order.
    """

    def __init__(self, parts: Sequence[Part], steps: Sequence[AnyStep]) -> None:
        # By the division that a part is of, one hash a sample says which of them holds it.
        self._divisions: dict[tuple[int, bool], dict[int, list[Entry]]] = {}
        for part in parts:
            shard = part.shard or _WHOLE
            division = self._divisions.setdefault((shard.of, shard.by_picture), {})
            entry = part, stores_of(part.folder, steps)
            division.setdefault(shard.number, []).append(entry)

    def of(self, sample: Sample) -> Entry | None:
        """The part that came furthest, the first of these; None where none may hold it."""
        able = self._able(sample)
        if len(able) < 2:
            return able[0] if able else None
        return max(able, key=lambda entry: len(_finished(sample, entry[1]).checkpoints))

    def require_agreement(self, source: SampleReader) -> None:
        """See that what is in several parts is the same in all of them.

        Raises:
            InputError: it is not; the first samples of which that is so are named.
        """
        differ = FirstFew()
        for item in source:
            if isinstance(item, BadLine) or item.occurrence > 1:
                continue
            if len(able := self._able(item)) > 1 and (paths := _at_odds(item, able)):
                differ.add(f"{item.sample_id} (line {item.line}) in {' and '.join(paths)}")
        if differ.total:
            raise InputError(
                f"{differ.total} samples have other results in one folder than in another: "
                f"{'; '.join(differ.first)}. Merge only one of these folders"
            )

    def _able(self, sample: Sample) -> list[Entry]:
        pair = sample.fields["image_path"], sample.fields["caption"]
        return [
            entry
            for (of, by_picture), division in self._divisions.items()
            for entry in division.get(Shard(1, of, by_picture).number_of(*pair), ())
        ]


def _finished(sample: Sample, stores: Stores) -> Finished:
    try:
        return load_finished(sample, stores)
    except SampleError:
        return Finished({}, Earlier())


def _at_odds(sample: Sample, able: Sequence[Entry]) -> list[str]:
    """The folders of two parts with other results of a step; nothing where all are the same."""
    first: dict[str, tuple[Any, Part]] = {}
    for part, stores in able:
        for step, found in _finished(sample, stores).checkpoints.items():
            result, before = first.setdefault(step.number, (found.result, part))
            if result != found.result:
                return [str(before.path), str(part.path)]
    return []
