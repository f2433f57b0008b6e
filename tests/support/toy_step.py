# SPDX-License-Identifier: Apache-2.0
"""A third step that is no part of the package, and ``run_pipeline.py`` with it.

Run as a script it takes the options of ``run_pipeline.py``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from image_grounding.boxes.frames import Size
from image_grounding.errors import SampleError
from image_grounding.input.samples import Sample
from image_grounding.steps.grounding import GROUNDING
from image_grounding.steps.profile import Profile
from image_grounding.steps.question import Ask, Failure, Question, Reply
from image_grounding.steps.step import Cost, Earlier, Step, basis_of
from image_grounding.steps.table import register

PROMPT = "TOY: is any box wrong?"


@dataclass(frozen=True)
class ToyVerdict:
    boxes: int
    word: str


@dataclass(frozen=True)
class ToyState:
    boxes: int
    attempt: int = 1


class ToyStep(Step[ToyVerdict]):
    number = "2"
    tag = "step2_toy"
    folder_name = "step_2_toy"
    needs = ("1",)
    result_type = ToyVerdict
    state_type = ToyState

    def plan(
        self, sample: Sample, size: Size, earlier: Earlier, profile: Profile
    ) -> Ask[ToyState] | ToyVerdict:
        boxes = sum(map(len, earlier[GROUNDING].instances))
        if not boxes:
            return ToyVerdict(0, "nothing")
        question = Question(f"{PROMPT} {sample.caption}", profile.picture(sample.image))
        return Ask((question,), ToyState(boxes))

    def read(
        self, ask: Ask[ToyState], replies: Sequence[Reply]
    ) -> ToyVerdict | Ask[ToyState] | Failure:
        (reply,), state = replies, ask.state
        if reply.text in ("yes", "no"):
            return ToyVerdict(state.boxes, reply.text)
        if state.attempt > 1:
            return Failure("toy_unclear", "neither yes nor no", reply.text, state.attempt)
        question = replace(ask.questions[0], attempt=2)
        return Ask((question,), replace(state, attempt=2))

    def basis(self, sample: Sample, earlier: Earlier) -> str:
        return basis_of([[box.bbox for box in found] for found in earlier[GROUNDING].instances])

    def recover(self, sample: Sample) -> ToyVerdict:
        raise SampleError("bad_line", "no step builds on this one")

    def identity(self, fields: Mapping[str, Any]) -> str:
        return json.dumps(fields.get("toy"))

    def add_to_record(
        self, record: dict[str, Any], sample: Sample, id_prefix: str, earlier: Earlier
    ) -> None:
        record["toy"] = {"boxes": earlier[self].boxes, "word": earlier[self].word}

    def cost(self, sample: Sample, size: Size, earlier: Earlier, profile: Profile) -> Cost:
        return Cost(7, 1, profile.transport)


TOY = ToyStep()

if __name__ == "__main__":
    from image_grounding.cli.run import run_command

    register(TOY)
    run_command()
