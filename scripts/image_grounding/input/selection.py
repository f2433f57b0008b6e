# SPDX-License-Identifier: Apache-2.0
"""What of the input a run asks for: all of it, or a pilot's few samples."""

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from image_grounding.errors import InputError
from image_grounding.input.samples import BadLine, Sample, SampleReader


@dataclass(frozen=True)
class Pilot:
    """How many samples to take, and which: the first ones, or a uniform draw by ``seed``."""

    count: int
    seed: int | None = None

    def plain(self) -> dict[str, Any]:
        """For a summary."""
        if self.seed is None:
            return {"limit": self.count}
        return {"sample": self.count, "seed": self.seed}


class Selection:
    """The input of a run, as a stream, in its order.

    Bad lines and repetitions of a pair are no part of a pilot. Whether a sample is drawn
    depends on its id and the seed alone: the same samples on every machine, and a draw of more
    samples holds that of fewer.

    Args:
        source: the whole input; a pilot reads it here once.
        pilot: which samples to take; None for every line.

    Raises:
        InputError: the file cannot be read, or there is nothing in it.
    """

    def __init__(self, source: SampleReader, pilot: Pilot | None = None) -> None:
        self.source = source
        self.pilot = pilot
        self.total = source.count()
        if self.total == 0 and source.count_all() == 0:
            raise InputError(f"the input has no lines: {source.path}")
        if pilot:
            self._lines = _choose(source, pilot)
            self.total = len(self._lines)
        if self.total == 0 and not source.shard:
            raise InputError(
                f"no line of {source.path} is a sample; --dry-run of the whole input says why"
            )

    def __iter__(self) -> Iterator[Sample | BadLine]:
        """Read from the start; raises InputError where the file itself cannot be read."""
        if self.pilot is None:
            yield from self.source
            return
        last = max(self._lines, default=0)
        for item in self.source:
            if item.line in self._lines:
                yield item
            if item.line >= last:
                return


def _choose(source: SampleReader, pilot: Pilot) -> frozenset[int]:
    """Numbers of the lines that a pilot takes."""
    samples = (item for item in source if isinstance(item, Sample) and item.occurrence == 1)
    if pilot.seed is None:
        return frozenset(sample.line for sample in islice(samples, pilot.count))
    ranked = ((_rank(sample.sample_id, pilot.seed), sample.line) for sample in samples)
    return frozenset(line for _, line in heapq.nsmallest(pilot.count, ranked))


def _rank(sample_id: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{sample_id}".encode()).digest()
