# SPDX-License-Identifier: Apache-2.0
"""Sentences about what makes the figures of an evaluation doubtful."""

from collections.abc import Mapping, Sequence

from image_grounding.evaluation.metric_sums import MetricSums
from image_grounding.evaluation.pairing import Pairing
from image_grounding.evaluation.truth import NEEDS, Truth

# Where less of the expressions, or of the truth, has a counterpart, texts were not comparable.
_LEAST_SHARE = 0.1


def figure_caveats(
    pairing: Pairing, sums: MetricSums, counts: Mapping[str, int], truth: Truth, resamples: int
) -> list[str]:
    """Sentences about what makes the figures of an evaluation doubtful."""
    found = _unlike_texts(sums, counts, truth)
    if counts["records_of_another_image_size"]:
        found.append(
            f"{counts['records_of_another_image_size']} records have another image size than the "
            "truth: boxes of resized or rotated (EXIF) images cannot be compared"
        )
    if unpaired := counts["records_of_captions_not_in_truth"]:
        found.append(
            f"{unpaired} of {counts['records']} records are not evaluated: the truth has no such "
            f"caption of their images as {_examples(pairing.examples['captions_only_in_results'])}"
        )
    if counts["boxes_judged_without_score"]:
        found.append(
            f"{counts['boxes_judged_without_score']} boxes have no score: they rank last, are not "
            "in the calibration, and there is no average precision"
        )
    if not any(pair.grounded for pair in pairing.pairs):
        found.append("step 1 has not run: only expressions are evaluated")
    if counts["images_only_in_truth"] > counts["images_evaluated"]:
        found.append(
            f"most of the truth is not evaluated: {counts['images_only_in_truth']} of its images "
            "have no record"
        )
    if resamples and counts["images_evaluated"] < 2:
        found.append("one image alone gives no interval")
    return found


def _unlike_texts(sums: MetricSums, counts: Mapping[str, int], truth: Truth) -> list[str]:
    """A sentence where hardly any text of one side is on the other, so that figures are of none."""
    expressions, unmatched = counts["expressions"], counts["expressions_not_in_truth"]
    true, missed = counts["truth_phrases"], counts["truth_phrases_without_expression"]
    unlike = _few(expressions, unmatched) or _few(true, missed)
    if not (expressions and true and unlike):
        return []
    of_categories = any(annotation.categories for annotation in truth.annotations)
    return [
        f"the figures are of next to nothing: {expressions - unmatched} of {expressions} "
        f"expressions are in the truth, and {true - missed} of its {true} phrases are "
        "expressions. Compared were expressions such as "
        f"{_examples(sums.unmatched_expressions)} with "
        f"{'category names' if of_categories else 'phrases'} such as "
        f"{_examples(sums.unmatched_phrases)}. The truth ({truth.format}) needs "
        f"{NEEDS[truth.format]}"
    ]


def _few(whole: int, without: int) -> bool:
    return whole - without < _LEAST_SHARE * whole


def _examples(texts: Sequence[str]) -> str:
    return " and ".join(map(repr, texts)) or "none"
