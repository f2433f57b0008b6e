# SPDX-License-Identifier: Apache-2.0
"""A run's records beside the truth of the same images and captions."""

from collections import Counter
from dataclasses import dataclass, field

from image_grounding.errors import InputError
from image_grounding.evaluation.images import RULES, ImageIndex, TruthImage, choose_rule
from image_grounding.evaluation.matching import find_caption
from image_grounding.evaluation.model import Annotation
from image_grounding.evaluation.truth import Truth
from image_grounding.results.reading import GroundedExpression, Record, Results

_EXAMPLES = 3


@dataclass
class Pair:
    """The truth and the results for a caption, or for an image.

    Attributes:
        group: which image it is of, 0 and up.
        annotation: the truth.
        expressions: the run's; of all records of the image where the truth has no captions.
        cleaned_caption: what their spans count in, or None where they are of several captions.
        grounded: whether boxes were looked for.
    """

    group: int
    annotation: Annotation
    expressions: tuple[GroundedExpression, ...]
    cleaned_caption: str | None
    grounded: bool


@dataclass
class Pairing:
    """All pairs, and what has no counterpart.

    Attributes:
        rule: how images were found; a name of ``images.RULES``.
        images: how many images of the truth have a record that was evaluated.
        counts: what was read, used and left out.
        examples: of what has no counterpart.
    """

    rule: str
    pairs: list[Pair] = field(default_factory=list)
    images: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)


def pair_up(results: Results, truth: Truth) -> Pairing:
    """Read the records and put them beside the truth; memory grows with the truth.

    Of a caption that several records are of the one counts that is most alike, of equals the
    first; of an image without captions in the truth every caption once.

    Raises:
        InputError: no image, or no caption, is in both; says what is on either side.
    """
    index = ImageIndex(truth.annotations, results.image_key)
    rule = choose_rule(results, index, truth)
    collector = _Collector(index, rule)
    for record in results.records():
        collector.add(record)
    return collector.finish(results, truth)


@dataclass(frozen=True)
class _Best:
    """The record that is put beside a caption of the truth."""

    likeness: float
    caption: str
    cleaned_caption: str


class _Collector:
    def __init__(self, index: ImageIndex, rule: str) -> None:
        self._index = index
        self._find = RULES[rule]
        self._rule = rule
        self._pairs: dict[int, Pair] = {}  # by identity of the annotation
        self._groups: dict[int, int] = {}  # by identity of the image
        self._best: dict[int, _Best] = {}  # by identity of the annotation
        self._seen: set[tuple[int, str]] = set()
        self._only_in_results: dict[str, None] = {}
        self._counts: Counter[str] = Counter()
        self._other_captions: list[str] = []

    def add(self, record: Record) -> None:
        self._counts["records"] += 1
        self._counts["boxes_without_score"] += sum(
            box.score is None for expression in record.expressions for box in expression.instances
        )
        image = self._find(self._index, record)
        if image is None:
            self._counts["records_of_images_not_in_truth"] += 1
            self._only_in_results[record.image_path] = None
            return
        captioned = [annotation for annotation in image.annotations if annotation.captions]
        chosen = [annotation for annotation in image.annotations if not annotation.captions]
        if found := find_caption(captioned, record.cleaned_caption, record.caption):
            chosen = [found[0]]
        if not chosen:
            self._count_other_caption(record.cleaned_caption)
            return
        if found:
            if not self._is_best(*found, record):
                return
        elif (id(image), record.caption) in self._seen:
            self._counts["repeated_records"] += 1
            return
        self._seen.add((id(image), record.caption))
        self._counts["records_evaluated"] += 1
        if record.size != (chosen[0].size or record.size):
            self._counts["records_of_another_image_size"] += 1
        for annotation in chosen:
            self._put(image, annotation, record)

    def _is_best(self, annotation: Annotation, likeness: float, record: Record) -> bool:
        """Whether a record is the most alike so far for a caption; it replaces a less alike one."""
        other = self._best.get(id(annotation))
        if other is None or likeness > other.likeness:
            self._best[id(annotation)] = _Best(likeness, record.caption, record.cleaned_caption)
            if other:
                del self._pairs[id(annotation)]
                self._counts["records_evaluated"] -= 1
                self._count_other_caption(other.cleaned_caption)
            return True
        if record.caption == other.caption:
            self._counts["repeated_records"] += 1
        else:
            self._count_other_caption(record.cleaned_caption)
        return False

    def _count_other_caption(self, caption: str) -> None:
        self._counts["records_of_captions_not_in_truth"] += 1
        if len(self._other_captions) < _EXAMPLES:
            self._other_captions.append(caption)

    def _put(self, image: TruthImage, annotation: Annotation, record: Record) -> None:
        group = self._groups.setdefault(id(image), len(self._groups))
        grounded = record.grounded or any(expression.instances for expression in record.expressions)
        pair = self._pairs.get(id(annotation))
        if pair is None:
            caption = record.cleaned_caption if annotation.captions else None
            pair = Pair(group, annotation, record.expressions, caption, grounded)
            self._pairs[id(annotation)] = pair
        else:
            pair.expressions += record.expressions
            pair.grounded = pair.grounded or grounded

    def finish(self, results: Results, truth: Truth) -> Pairing:
        if not self._pairs:
            captions = [entry.captions[0] for entry in truth.annotations if entry.captions]
            raise InputError(
                f"images of {results.file} are in {truth.path}, but no caption of theirs is. "
                f"Results: {self._other_captions}. Truth: {captions[:_EXAMPLES]}"
            )
        unused = [image for image in self._index.images if id(image) not in self._groups]
        pairs = list(self._pairs.values())
        counts = {
            **{name: self._counts[name] for name in (
                "records", "records_evaluated", "repeated_records",
                "records_of_images_not_in_truth", "records_of_captions_not_in_truth",
                "records_of_another_image_size", "boxes_without_score",
            )},
            "images_evaluated": len(self._groups),
            "images_only_in_results": len(self._only_in_results),
            "images_only_in_truth": len(unused),
            "truth_captions_without_record": sum(
                id(annotation) not in self._pairs
                for image in self._index.images if id(image) in self._groups
                for annotation in image.annotations
            ),
        }  # fmt: skip
        examples = {
            "images_only_in_results": list(self._only_in_results)[:_EXAMPLES],
            "images_only_in_truth": [image.name for image in unused[:_EXAMPLES]],
            "captions_only_in_results": self._other_captions,
        }
        return Pairing(self._rule, pairs, len(self._groups), counts, examples)
