# SPDX-License-Identifier: Apache-2.0
"""What a step is: one value that says all about itself.

A step asks and reads; it does no I/O. ``plan`` and ``read`` are pure: what they need comes in,
what they decide goes out, and an ``Ask`` on its way between them can wait in a file.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar, cast

from image_grounding.boxes.frames import Size, Transport
from image_grounding.input.samples import Sample
from image_grounding.steps.profile import Profile
from image_grounding.steps.question import Ask, Failure, Reply

R = TypeVar("R")


@dataclass(frozen=True)
class Cost:
    """What a step is likely to take for a sample: tokens of text, the picture's size as sent.

    ``common_tokens`` are those of the text that a request for several samples has once, and
    ``requests`` is 0 for a sample that is asked for in another one's request.
    """

    text_tokens: int
    output_tokens: int
    picture: Transport | None = None
    low_detail: bool = False
    common_tokens: int = 0
    requests: int = 1

    def beside_another(self) -> "Cost":
        """What the sample adds to a request that asks for another one already."""
        text = self.text_tokens - self.common_tokens
        return replace(self, text_tokens=text, picture=None, requests=0)


@dataclass(frozen=True)
class Losses:
    """Boxes of a result that could not be used, by reason, and those that were cut off."""

    dropped: Counter[str] = field(default_factory=Counter)
    clipped: int = 0


class Step(ABC, Generic[R]):
    """A step of the pipeline.

    Attributes:
        number: its name in ``workflow.steps``.
        tag: its name in a record's ``pipeline_steps``.
        folder_name: its folder in results_dir.
        needs: numbers of the steps whose results it works on.
        answered_with: number of the step whose reply answers this one, too, in a single pass.
        asks_for_boxes: whether it needs to know the endpoint's box convention.
        result_type: the dataclass of its results; it is kept in this type's JSON form.
        state_type: the dataclass of ``Ask.state``.
    """

    number: str
    tag: str
    folder_name: str
    needs: tuple[str, ...] = ()
    answered_with: str = ""
    asks_for_boxes: bool = False
    result_type: type[R]
    state_type: type[Any]

    @abstractmethod
    def plan(
        self, sample: Sample, size: Size, earlier: "Earlier", profile: Profile
    ) -> Ask[Any] | R:
        """The first questions for a sample, or the result where nothing is to be asked.

        Args:
            sample: the input line.
            size: (width, height) of its upright image in pixels.
            earlier: the results of the steps before.
            profile: how the teacher is asked.
        """

    @abstractmethod
    def read(self, ask: Ask[Any], replies: Sequence[Reply]) -> R | Ask[Any] | Failure:
        """What the replies mean: a result, the next questions, or why there is none.

        Args:
            ask: what was asked; the questions to what is still open come back as another one.
            replies: one for each question.
        """

    @abstractmethod
    def basis(self, sample: Sample, earlier: "Earlier") -> str:
        """Hash of the texts that the step works on: with other ones a result does not hold."""

    @abstractmethod
    def recover(self, sample: Sample) -> R:
        """The step's result in a record that was given as input.

        Raises:
            SampleError: ``bad_line``, the record does not hold one.
        """

    @abstractmethod
    def identity(self, fields: Mapping[str, Any]) -> str:
        """What of a given record later steps depend on, as a text to compare."""

    @abstractmethod
    def add_to_record(
        self, record: dict[str, Any], sample: Sample, id_prefix: str, earlier: "Earlier"
    ) -> None:
        """Add the step's part to an output record.

        Args:
            record: the line's fields, with the parts of the steps before.
            sample: the input line.
            id_prefix: what the ids of the record start with.
            earlier: the results so far, that of this step among them.
        """

    @abstractmethod
    def cost(self, sample: Sample, size: Size, earlier: "Earlier", profile: Profile) -> Cost | None:
        """What the step is likely to take, or None where it asks nothing.

        ``earlier`` lacks the results of steps that are still to come.
        """

    def is_sound(self, result: R, size: Size, earlier: "Earlier") -> bool:
        """Whether a result that was read back can be what the step leaves; its types are right.

        A resumed run asks it of every finished step.

        Args:
            result: the result.
            size: (width, height) of the upright image in pixels.
            earlier: the results of the steps before.
        """
        return True

    def losses(self, result: R) -> Losses:
        """What of the model's boxes is not in a result."""
        return Losses()


class Earlier:
    """The results of the steps of one sample so far."""

    def __init__(self, results: Mapping[str, Any] | None = None) -> None:
        self._results = dict(results or {})

    def __contains__(self, step: Step[Any]) -> bool:
        """Whether ``step`` has a result."""
        return step.number in self._results

    def __getitem__(self, step: Step[R]) -> R:
        """The result of ``step``."""
        return cast(R, self._results[step.number])

    def plus(self, step: Step[R], result: R) -> "Earlier":
        """These and one more."""
        return Earlier({**self._results, step.number: result})


def basis_of(*parts: Any) -> str:
    """Hash of JSON values; the same on every machine."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
