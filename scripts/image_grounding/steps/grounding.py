# SPDX-License-Identifier: Apache-2.0
"""Step 1, phrase grounding: pixel boxes with scores for each referring expression."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from image_grounding.boxes.frames import Frame, Size
from image_grounding.boxes.geometry import PixelBox, reaches_beyond, to_original
from image_grounding.errors import SampleError
from image_grounding.families.families import Family
from image_grounding.input.samples import Sample
from image_grounding.replies import GroundingReply, read_grounding
from image_grounding.steps.annotations import Grounding, Instance
from image_grounding.steps.extraction import EXTRACTION
from image_grounding.steps.profile import Profile
from image_grounding.steps.prompts import grounding_prompt, grounding_schema
from image_grounding.steps.question import Ask, Failure, PictureRef, Question, Reply
from image_grounding.steps.step import Cost, Earlier, Losses, Step, basis_of
from image_grounding.steps.tokens import GROUNDED_TOKENS, expected_expressions, text_tokens
from image_grounding.steps.unread import MAX_ASKS, Problem, unread

# Why a sample fails whose boxes cannot be used.
UNUSABLE = "reply_unusable"
_EXPRESSION_IN_PROMPT = '{"id": 0, "text": ""}, '


@dataclass(frozen=True)
class GroundingState:
    """What was asked for, what is known already, and what is still open.

    Attributes:
        texts: the referring expressions of the sample, in order.
        convention: what the model writes boxes in.
        frame: sizes of the upright original and of the picture as sent.
        open: positions in ``texts`` of what the question asks for; its ids count from 0.
        found: the boxes of each expression; None where it is open, none where it is absent.
        family: how the model is asked.
        losses: boxes that could not be used so far, by reason, and those that were clipped.
        claimed: positions of which a reply said something that cannot be used.
        asks: replies so far that could be read.
        unread: replies so far that could not.
    """

    texts: tuple[str, ...]
    convention: str
    frame: Frame
    open: tuple[int, ...]
    found: tuple[tuple[Instance, ...] | None, ...]
    family: Family
    losses: Losses = field(default_factory=Losses)
    claimed: frozenset[int] = frozenset()
    asks: int = 0
    unread: int = 0

    @property
    def open_texts(self) -> tuple[str, ...]:
        """The expressions that the question asks for."""
        return tuple(self.texts[index] for index in self.open)


class GroundingStep(Step[Grounding]):
    """Finds the boxes of each expression in the picture."""

    number = "1"
    tag = "step1_grounding"
    folder_name = "step_1_grounding"
    needs = ("0",)
    answered_with = "0"
    asks_for_boxes = True
    result_type = Grounding
    state_type = GroundingState

    def plan(
        self, sample: Sample, size: Size, earlier: Earlier, profile: Profile
    ) -> Ask[GroundingState] | Grounding:
        """One question about all expressions; none where there is no expression."""
        texts = tuple(expression.text for expression in earlier[EXTRACTION].expressions)
        if not texts:
            return Grounding(())
        question = boxes_question(texts, profile.picture(sample.image), profile.family)
        state = GroundingState(
            texts,
            profile.convention,
            profile.transport.frame(size),
            tuple(range(len(texts))),
            (None,) * len(texts),
            profile.family,
        )
        return Ask((question,), state)

    def read(
        self, ask: Ask[GroundingState], replies: Sequence[Reply]
    ) -> Grounding | Ask[GroundingState] | Failure:
        """The boxes and absences; what a reply leaves open is asked for once more, alone.

        Absence is taken from a reply's words, never from its silence. Only a whole, clean reply
        of a family's native form, which has no way to say it, says it by its second silence.
        """
        (reply,), (question,), state = replies, ask.questions, ask.state
        found = read_boxes(reply, state.open_texts)
        attempt = question.attempt + 1
        if isinstance(found, Problem):
            state = replace(state, unread=state.unread + 1)
            if state.unread >= MAX_ASKS:
                return found.failure(reply, question.attempt, state.losses.dropped)
            return Ask((replace(found.question_again(question), attempt=attempt),), state)
        state = _taken_in(state, found)
        if not state.open:
            return Grounding(
                tuple(boxes or () for boxes in state.found),
                dict(state.losses.dropped),
                state.losses.clipped,
            )
        if state.asks >= MAX_ASKS:
            return _open_problem(state).failure(reply, question.attempt, state.losses.dropped)
        alone = boxes_question(state.open_texts, question.picture, state.family)
        again = replace(alone, attempt=attempt, token_factor=question.token_factor)
        return Ask((again,), state)

    def basis(self, sample: Sample, earlier: Earlier) -> str:
        """The cleaned caption and the expressions with their spans."""
        extraction = earlier[EXTRACTION]
        listed = [[expression.text, expression.char_span] for expression in extraction.expressions]
        return basis_of(extraction.cleaned_caption, listed)

    def recover(self, sample: Sample) -> Grounding:
        """From a record of ours or of TAO: the boxes of each expression.

        Raises:
            SampleError: ``bad_line``, an expression has no list of boxes.
        """
        given = sample.fields.get("expressions")
        if not isinstance(given, list):
            raise SampleError("bad_line", "the record has no list of expressions")
        return Grounding(tuple(map(_instances, given)))

    def identity(self, fields: Mapping[str, Any]) -> str:
        """Caption, expressions and their boxes."""
        expressions = fields.get("expressions")
        listed = [
            item.get("instances") if isinstance(item, dict) else None
            for item in (expressions if isinstance(expressions, list) else ())
        ]
        boxes = [
            [box.get("bbox") if isinstance(box, dict) else box for box in found]
            if isinstance(found, list)
            else found
            for found in listed
        ]
        return json.dumps([EXTRACTION.identity(fields), boxes])

    def add_to_record(
        self, record: dict[str, Any], sample: Sample, id_prefix: str, earlier: Earlier
    ) -> None:
        """The boxes of the ``expressions``."""
        for fields, found in zip(record["expressions"], earlier[self].instances, strict=True):
            fields["status"] = "grounded" if found else "absent"
            own_id = fields["expression_id"]
            fields["instances"] = [
                {"bbox_id": f"{own_id}-b{index}", "bbox": list(box.bbox), "score": box.score}
                for index, box in enumerate(found)
            ]

    def cost(self, sample: Sample, size: Size, earlier: Earlier, profile: Profile) -> Cost | None:
        """The prompt lists the expressions; the reply has a box for each."""
        if profile.single_pass and EXTRACTION not in earlier:
            return None
        if EXTRACTION in earlier:
            texts = [expression.text for expression in earlier[EXTRACTION].expressions]
            count = len(texts)
            text = text_tokens(grounding_prompt(texts, profile.family))
        else:
            count = expected_expressions(sample.caption)
            text = _empty_prompt_tokens(profile.family)
            text += text_tokens(sample.caption) + count * text_tokens(_EXPRESSION_IN_PROMPT)
        return Cost(text, GROUNDED_TOKENS * count, profile.transport) if count else None

    def is_sound(self, result: Grounding, size: Size, earlier: Earlier) -> bool:
        """Whether there is a list for each expression, and the boxes are in the picture."""
        width, height = size
        if len(result.instances) != len(earlier[EXTRACTION].expressions):
            return False
        if result.clipped < 0 or (result.dropped and min(result.dropped.values()) < 0):
            return False
        for instances in result.instances:
            for instance in instances:
                x1, y1, x2, y2 = instance.bbox
                if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
                    return False
                score = instance.score
                if score is not None and not 0 <= score <= 1:
                    return False
        return True

    def losses(self, result: Grounding) -> Losses:
        """Dropped and clipped boxes."""
        return Losses(Counter(result.dropped), result.clipped)


GROUNDING = GroundingStep()


@lru_cache(maxsize=16)
def _empty_prompt_tokens(family: Family) -> int:
    return text_tokens(grounding_prompt((), family))


def boxes_question(texts: Sequence[str], picture: PictureRef | None, family: Family) -> Question:
    """The question for the boxes of ``texts``; an expression's id is its position."""
    return Question(
        grounding_prompt(texts, family),
        picture,
        grounding_schema(family.box_key),
        subject={"expressions": list(texts)},
    )


def read_boxes(reply: Reply, texts: Sequence[str]) -> GroundingReply | Problem:
    """What a reply says of ``texts``, in the model's own numbers, or why it cannot be read."""
    found = read_grounding(reply.text, texts)
    return unread(reply, found.status, open_ended=found.open_ended) or found


def _taken_in(state: GroundingState, reply: GroundingReply) -> GroundingState:
    """``state`` with what a reply says."""
    dropped = Counter(state.losses.dropped) + reply.dropped
    clipped = state.losses.clipped
    boxes: dict[int, dict[PixelBox, float | None]] = {}
    unusable = set(reply.unusable)
    for raw in reply.instances:
        numbers = raw.numbers_in(state.convention)
        box = to_original(numbers, state.convention, state.frame, dropped)
        if box is None:
            unusable.add(raw.expression)
            continue
        clipped += reaches_beyond(numbers, state.convention, state.frame)
        known = boxes.setdefault(raw.expression, {})
        scores = [score for score in (known.get(box), raw.score) if score is not None]
        known[box] = max(scores, default=None)
    silent = reply.complete and not reply.can_name_absent and state.asks > 0
    found, claimed = list(state.found), set(state.claimed)
    for place, index in enumerate(state.open):
        if place in unusable:
            claimed.add(index)
        elif place in boxes:
            found[index] = tuple(Instance(box, score) for box, score in boxes[place].items())
        elif place in reply.absent or (silent and index not in claimed):
            found[index] = ()
    still_open = tuple(index for index in state.open if found[index] is None)
    return replace(
        state,
        open=still_open,
        found=tuple(found),
        losses=Losses(dropped, clipped),
        claimed=frozenset(claimed),
        asks=state.asks + 1,
    )


def _open_problem(state: GroundingState) -> Problem:
    """Why expressions are still open when all asking is done."""
    texts = ", ".join(json.dumps(text, ensure_ascii=False) for text in state.open_texts)
    if state.losses.dropped:
        reasons = ", ".join(f"{count} x {name}" for name, count in state.losses.dropped.items())
        return Problem(UNUSABLE, f"has boxes that cannot be used ({reasons}) for {texts}")
    return Problem("unanswered", f"says neither where {texts} is nor that it is absent")


def _instances(item: Any) -> tuple[Instance, ...]:
    found = item.get("instances") if isinstance(item, dict) else None
    if not isinstance(found, list):
        raise SampleError("bad_line", "an expression of the record has no list of instances")
    return tuple(map(_instance, found))


def _instance(item: Any) -> Instance:
    match item.get("bbox") if isinstance(item, dict) else None:
        case [int(x1), int(y1), int(x2), int(y2)] as sides if bool not in map(type, sides):
            score = item.get("score", item.get("bbox_score"))
            number = isinstance(score, int | float) and not isinstance(score, bool)
            return Instance((x1, y1, x2, y2), float(score) if number else None)
    raise SampleError("bad_line", "a bbox of the record is not four whole numbers")
