# SPDX-License-Identifier: Apache-2.0
"""The measurement: every convention is tried on the answers, the truth decides."""

import asyncio
import statistics
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from image_grounding.boxes.frames import CONVENTIONS, PIXEL_CONVENTIONS
from image_grounding.boxes.geometry import GOOD_IOU, MIN_IOU, PixelBox, box_iou, to_original
from image_grounding.errors import SampleError
from image_grounding.families.families import UNKNOWN, Family
from image_grounding.images.encoding import EncodedImage
from image_grounding.measuring.probes import Probe
from image_grounding.replies import GroundingReply, RawInstance
from image_grounding.steps.drive import Driven

# The best convention must be so much better than the next.
MIN_LEAD = 0.1

_MAX_EXCERPT = 120

Ask = Callable[[Sequence[str], EncodedImage], Awaitable[Driven[GroundingReply]]]


@dataclass(frozen=True)
class ProbeResult:
    """A probe and what was answered to it.

    Attributes:
        probe: what was asked.
        answers: the model's numbers for each expression, as it wrote them.
        problem: why there is no answer, else None.
        excerpt: the start of what was answered.
    """

    probe: Probe
    answers: Mapping[str, Sequence[RawInstance]]
    problem: str | None = None
    excerpt: str = ""

    def boxes(self, expression: str, convention: str) -> list[PixelBox]:
        """The answers for an expression, in pixels of the probe."""
        frame = self.probe.image.frame
        found = (
            to_original(raw.numbers_in(convention), convention, frame, Counter())
            for raw in self.answers.get(expression, ())
        )
        return [box for box in found if box]

    def ious(self, convention: str) -> list[float]:
        """IoU with the truth for each expression; 0 where there is no box."""
        return [
            max((box_iou(box, truth) for box in self.boxes(name, convention)), default=0.0)
            for name, truth in self.probe.truth.items()
        ]


@dataclass(frozen=True)
class Measurement:
    """What was measured.

    Attributes:
        ious: mean IoU with the truth under each convention, best first.
        chosen: the convention that the endpoint answers in; None where no convention fits.
    """

    ious: Mapping[str, float]
    chosen: str | None

    @property
    def best(self) -> tuple[str, float]:
        """The best convention and its mean IoU."""
        return next(iter(self.ious.items()))

    @property
    def iou(self) -> float:
        """Mean IoU of the chosen convention, else of the best one."""
        return self.ious[self.chosen] if self.chosen else self.best[1]

    def doubt(self) -> str | None:
        """A sentence where the boxes are not exact, else None."""
        if self.iou >= GOOD_IOU:
            return None
        figures = ", ".join(f"{name} {iou:.2f}" for name, iou in self.ious.items())
        return (
            f"the boxes are not exact: on plain rectangles a model that grounds well reaches a "
            f"mean IoU of {GOOD_IOU}; this one may write boxes in none of the known conventions "
            f"({figures})"
        )

    def contradiction(self, family: Family) -> str | None:
        """A sentence where it contradicts what is known of a family, else None."""
        if family.name == UNKNOWN.name or self.chosen in (None, family.convention):
            return None
        return (
            f"models of the family {family.name} are known to write {family.convention}, this "
            f"endpoint answers in {self.chosen}; what was measured is used"
        )

    def why_undecided(self) -> str:
        """Why no convention was chosen, with figures."""
        (first, best), (second, next_best) = list(self.ious.items())[:2]
        if best < MIN_IOU:
            return f"this model cannot place boxes: best mean IoU {best:.2f} as {first}"
        return (
            f"this model's box convention cannot be told: mean IoU {best:.2f} as {first} "
            f"and {next_best:.2f} as {second}"
        )


async def measure(ask: Ask, probes: Sequence[Probe]) -> list[ProbeResult]:
    """Ask about every probe through the real prompt and reader.

    Raises:
        EndpointError: the endpoint failed; the first probe goes alone, so that it fails fast.
    """
    first = await _ask_one(ask, probes[0])
    return [first, *await asyncio.gather(*(_ask_one(ask, probe) for probe in probes[1:]))]


async def _ask_one(ask: Ask, probe: Probe) -> ProbeResult:
    names = list(probe.truth)
    try:
        driven = await ask(names, probe.image)
    except SampleError as error:
        return ProbeResult(probe, {}, str(error), (error.excerpt or "")[:_MAX_EXCERPT])
    answers: dict[str, list[RawInstance]] = {name: [] for name in names}
    for raw in driven.result.instances:
        answers[names[raw.expression]].append(raw)
    return ProbeResult(probe, answers, excerpt=driven.replies[-1].text[:_MAX_EXCERPT])


def decide(results: Sequence[ProbeResult], expected: str) -> Measurement:
    """Which convention the answers are in.

    The best one must reach ``MIN_IOU`` and lead the next by ``MIN_LEAD``. The two in pixels
    are no rivals: images mostly travel at sizes at which they are the same. Where they are,
    ``expected`` (the family's) is taken, else the one that holds whatever a server resizes.
    """
    means = {
        name: statistics.fmean([iou for result in results for iou in result.ious(name)])
        for name in CONVENTIONS
    }
    ranked = dict(sorted(means.items(), key=lambda item: item[1], reverse=True))
    best, iou = next(iter(ranked.items()))
    same = PIXEL_CONVENTIONS if best in PIXEL_CONVENTIONS else frozenset({best})
    lead = iou - max(value for name, value in ranked.items() if name not in same)
    if iou < MIN_IOU or lead < MIN_LEAD:
        return Measurement(ranked, None)
    if best in PIXEL_CONVENTIONS and iou - min(means[name] for name in same) < MIN_LEAD:
        best = expected if expected in PIXEL_CONVENTIONS else "pixel_resized"
    return Measurement(ranked, best)
