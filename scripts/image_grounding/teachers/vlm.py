# SPDX-License-Identifier: Apache-2.0
"""The teacher that asks a vision-language model behind an endpoint."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from image_grounding.asking import Asker, Question
from image_grounding.asking.diagnosis import explained
from image_grounding.boxes.frames import Frame, Transport
from image_grounding.boxes.geometry import MIN_IOU, PixelBox, reaches_beyond, to_original
from image_grounding.errors import EndpointError, RejectedRequestError
from image_grounding.families.families import UNKNOWN, Family, family_of
from image_grounding.images.encoding import EncodedImage
from image_grounding.measuring import Measurement, MeasurementCache
from image_grounding.replies import ExtractionReply, GroundingReply, read_extraction
from image_grounding.spans import find_spans
from image_grounding.spec import Spec
from image_grounding.steps.annotations import Expression, Extraction, Grounding, Instance
from image_grounding.steps.prompts import VERSION, extraction_prompt, extraction_schema
from image_grounding.teachers.asking import ask_for_boxes, ask_until_read
from image_grounding.teachers.convention import fit_of, measure_convention
from image_grounding.teachers.transport import transport_for


class VlmTeacher:
    """Extraction and grounding over an endpoint."""

    def __init__(self, asker: Asker, spec: Spec, say: Callable[[str], None]) -> None:
        self.asker = asker
        self.family = asked_family(spec.vlm.model, spec.vlm.coordinates)
        self.measurement: Measurement | None = None
        self._told_iou: float | None = None
        self._vlm = spec.vlm
        self._show_image = spec.vlm.image.step_0 is True
        self._say = say
        self._cache = MeasurementCache(spec.results_dir, spec.vlm, self.transport)
        if spec.vlm.coordinates == "auto" and not spec.workflow.force_reprocess:
            self.measurement = self._cache.load()

    @property
    def transport(self) -> Transport:
        """The size that images are sent at; see ``transport_for``."""
        transport = transport_for(self.family, self._convention, self._vlm)
        if self._show_image:  # it travels twice
            transport = replace(transport, max_bytes=transport.max_bytes // 2)
        return transport

    async def prepare(self, *, grounding: bool) -> None:
        """Measure the box convention; one that is known already is tried on one probe.

        Raises:
            EndpointError: the endpoint cannot be used, or the model cannot place boxes.
        """
        if not grounding:
            return
        told = self._vlm.coordinates != "auto"
        if told or self.measurement:
            fit = await fit_of(self._convention, self.asker, self.family, self._vlm)
            where = "as the spec says" if told else "as measured before"
            self._say(f"boxes come as {self._convention}, {where} (mean IoU {fit:.2f} on a probe)")
            self._told_iou = fit if told else None
            if fit >= MIN_IOU:
                return
            if told:
                self._say(
                    "warning: the boxes of the probe are elsewhere; vlm.coordinates=auto would "
                    "measure what the endpoint answers in"
                )
                return
        measured = await measure_convention(self.asker, self.family, self._vlm)
        self._cache.save(measured)
        self.measurement = measured
        self._say(f"boxes come as {measured.chosen} (mean IoU {measured.iou:.2f} on probes)")
        for warning in (contradiction(self.family, measured), measured.doubt()):
            if warning:
                self._say(f"warning: {warning}")

    async def explained(self, error: EndpointError) -> EndpointError:
        """``error``, or what the endpoint says of it when it is asked."""
        return await explained(error, self.asker, self._vlm)

    @property
    def _convention(self) -> str:
        """What was measured, else what the spec or the family says."""
        measured = self.measurement
        return (measured and measured.chosen) or self.family.convention

    async def extract(self, caption: str, image: EncodedImage) -> Extraction:
        """Step 0; see ``Teacher.extract``."""
        shown = image if self._show_image else None
        question = Question(extraction_prompt(caption), shown, extraction_schema())
        try:
            reply = await ask_until_read(self.asker, question, read_extraction)
        except RejectedRequestError as error:
            # Some servers take no request without an image; they say so once.
            if shown or self._vlm.image.step_0 is False or "image" not in str(error).lower():
                raise
            self._show_image = True
            return await self.extract(caption, image)
        return _extraction(reply, caption)

    async def ground(self, expressions: Sequence[Expression], image: EncodedImage) -> Grounding:
        """Step 1; see ``Teacher.ground``. Asks nothing where there is no expression."""
        if not expressions:
            return Grounding(())
        texts = [expression.text for expression in expressions]

        def converted(reply: GroundingReply) -> Grounding:
            return _grounding(reply, len(texts), self._convention, image.frame)

        def spoiled(reply: GroundingReply) -> Mapping[str, int]:
            """Why an expression would look unseen that the reply does not call so."""
            grounding = converted(reply)
            said = reply.unusable | {raw.expression for raw in reply.instances}
            lost = any(not grounding.instances[index] for index in said)
            nothing = not any(grounding.instances)
            return grounding.dropped if lost or nothing else {}

        return converted(await ask_for_boxes(self.asker, self.family, texts, image, spoiled))

    def provenance(self) -> dict[str, Any]:
        """Backend, model, prompt version and box convention (None before it is measured)."""
        known = self._vlm.coordinates != "auto" or self.measurement is not None
        return {
            "backend": self._vlm.backend,
            "model": self._vlm.model,
            "prompt_version": VERSION,
            "convention": self._convention if known else None,
        }

    def facts(self) -> dict[str, Any]:
        """Provenance, and what the measurement found."""
        measured = self.measurement
        iou = measured.iou if measured else self._told_iou
        return {
            **self.provenance(),
            "convention_iou": None if iou is None else round(iou, 4),
            "conventions_tried": dict(measured.ious) if measured else None,
            "family": self.family.name,
        }

    async def close(self) -> None:
        """Let the endpoint's connections go."""
        await self.asker.close()


def asked_family(model: str, coordinates: str) -> Family:
    """The family by a model's name; a convention that the spec names is asked for as such."""
    family = family_of(model)
    return family if coordinates == "auto" else replace(family, convention=coordinates)


def contradiction(family: Family, measured: Measurement) -> str | None:
    """A sentence where a measurement contradicts what is known of a family, else None."""
    if family.name == UNKNOWN.name or measured.chosen in (None, family.convention):
        return None
    return (
        f"models of the family {family.name} are known to write {family.convention}, this "
        f"endpoint answers in {measured.chosen}; what was measured is used"
    )


def _extraction(reply: ExtractionReply, caption: str) -> Extraction:
    cleaned = reply.cleaned_caption or caption
    texts = [raw.text for raw in reply.expressions]
    spans = find_spans(cleaned, texts, [raw.hint for raw in reply.expressions])
    unique: dict[Any, Expression] = {}
    for raw, span in zip(reply.expressions, spans, strict=True):
        text = cleaned[span[0] : span[1]] if span else raw.text
        # The same mention named twice is one expression.
        unique.setdefault(span or text, Expression(text, raw.noun_chunk, span))
    return Extraction(cleaned, tuple(unique.values()))


def _grounding(reply: GroundingReply, count: int, convention: str, frame: Frame) -> Grounding:
    dropped = Counter(reply.dropped)
    clipped = 0
    found: list[dict[PixelBox, float | None]] = [{} for _ in range(count)]
    for raw in reply.instances:
        numbers = raw.numbers_in(convention)
        box = to_original(numbers, convention, frame, dropped)
        if box is None:
            continue
        clipped += reaches_beyond(numbers, convention, frame)
        boxes = found[raw.expression]
        known = [score for score in (boxes.get(box), raw.score) if score is not None]
        boxes[box] = max(known, default=None)
    return Grounding(
        tuple(tuple(Instance(box, score) for box, score in boxes.items()) for boxes in found),
        dict(dropped),
        clipped,
    )
