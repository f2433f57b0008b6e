# SPDX-License-Identifier: Apache-2.0
"""Metrics by hand, by their properties, and against pycocotools."""

import contextlib
import io
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from image_grounding.boxes.geometry import box_iou
from image_grounding.evaluation.average_precision import AveragePrecision, Ranked
from image_grounding.evaluation.bootstrap import intervals
from image_grounding.evaluation.calibration import (
    COLUMNS,
    bin_of,
    expected_calibration_error,
    reliability,
)
from image_grounding.evaluation.matching import (
    Folded,
    find_caption,
    match_categories,
    match_phrases,
)
from image_grounding.evaluation.metric_sums import MetricSums
from image_grounding.evaluation.metrics import assign, by_score, localize
from image_grounding.evaluation.model import Annotation, Phrase
from image_grounding.evaluation.pairing import Pair, Pairing
from image_grounding.results.reading import GroundedExpression
from image_grounding.steps.annotations import Instance

Box = tuple[int, int, int, int]


def grounded(
    text: str, boxes: Sequence[Box] = (), scores: Sequence[float | None] = (), caption: str = ""
) -> GroundedExpression:
    scores = scores or [0.5] * len(boxes)
    start = caption.find(text)
    span = (start, start + len(text)) if caption and start >= 0 else None
    instances = tuple(Instance(b, s) for b, s in zip(boxes, scores, strict=True))
    return GroundedExpression(text, text, span, text, instances)


# Boxes


@st.composite
def boxes(draw: st.DrawFn, most: int = 60) -> Box:
    x1, y1 = draw(st.integers(0, most - 1)), draw(st.integers(0, most - 1))
    return (x1, y1, draw(st.integers(x1 + 1, most)), draw(st.integers(y1 + 1, most)))


@given(st.lists(boxes(), min_size=1, max_size=5), st.lists(boxes(), min_size=1, max_size=5))
def test_iou_is_that_of_pycocotools(first: list[Box], second: list[Box]) -> None:
    def xywh(found: list[Box]) -> np.ndarray:
        return np.array([(a, b, c - a, d - b) for a, b, c, d in found], dtype=float)

    theirs = mask.iou(xywh(first), xywh(second), [0] * len(second))
    ours = [[box_iou(box, other) for other in second] for box in first]
    assert np.allclose(ours, theirs)


def test_best_box_first_and_no_score_last() -> None:
    scores = [None, 0.2, 0.9, None, 0.9, 0.0]
    found = by_score([Instance((n, 0, n + 1, 1), score) for n, score in enumerate(scores)])
    assert [box.bbox[0] for box in found] == [2, 4, 1, 5, 0, 3]


@pytest.mark.parametrize(
    ("ious", "expected"),
    [
        ([[0.6, 0.9], [0.8, 0.95]], [1, 0]),  # greedy: the first box takes what it overlaps most
        ([[0.9], [0.95]], [0, None]),  # the second box on one object is wrong
        ([[0.49, 0.0]], [None]),
        ([[0.5]], [0]),
        ([[], []], [None, None]),
        ([], []),
    ],
)
def test_boxes_take_true_boxes_greedily(
    ious: list[list[float]], expected: list[int | None]
) -> None:
    assert assign(ious) == expected


def test_localize_by_hand() -> None:
    truth = [(0, 0, 10, 10), (20, 0, 30, 10)]
    boxes_and_scores = [((20, 0, 30, 5), 0.3), ((0, 0, 10, 9), 0.9), ((0, 0, 10, 10), 0.8)]
    found = localize([Instance(box, score) for box, score in boxes_and_scores], truth)
    assert found.ious == pytest.approx((0.9, 1.0, 0.5))
    assert [box.right for box in found.boxes] == [True, False, True]
    assert found.merged_iou == pytest.approx(1.0)  # each around (0, 0, 30, 10)
    merged = localize([Instance((0, 0, 10, 10), 1.0)], truth).merged_iou
    assert merged == pytest.approx(100 / 300)


def test_localize_nothing() -> None:
    nothing = localize([], [(0, 0, 10, 10)])
    assert (nothing.ious, nothing.merged_iou, nothing.boxes) == ((), 0.0, ())
    wrong = localize([Instance((0, 0, 1, 1), 0.5)], [])
    assert (wrong.ious, [box.right for box in wrong.boxes]) == ((0.0,), [False])


# Against COCO's evaluation: each phrase is an image there, of one category.


def scene(seed: int, phrases: int, most_true: int) -> list[tuple[list[Box], list[Instance]]]:
    """True boxes and answers with distinct scores, some near the truth, some not."""
    rng = random.Random(seed)
    scores = iter(rng.sample(range(100_000), 20 * phrases))
    found = []
    for _ in range(phrases):
        truth = [_random_box(rng) for _ in range(rng.randint(1, most_true))]
        near = [_moved(rng, box) for box in truth for _ in range(rng.randint(0, 2))]
        far = [_random_box(rng) for _ in range(rng.randint(0, 6))]
        answer = [Instance(box, next(scores) / 100_000) for box in [*near, *far]]
        rng.shuffle(answer)
        found.append((truth, answer))
    return found


def _random_box(rng: random.Random) -> Box:
    x1, y1 = rng.randint(0, 80), rng.randint(0, 80)
    return (x1, y1, x1 + rng.randint(5, 40), y1 + rng.randint(5, 40))


def _moved(rng: random.Random, box: Box) -> Box:
    dx, dy = rng.randint(-4, 4), rng.randint(-4, 4)
    return (box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy)


def coco_figures(found: list[Any], max_dets: list[int]) -> tuple[float, list[float]]:
    """COCOeval's AP and, for each of ``max_dets``, AR, at IoU 0.5."""
    annotations, answers = [], []
    for image, (truth, answer) in enumerate(found, 1):
        for a, b, c, d in truth:
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image, "category_id": 1, "iscrowd": 0,
                 "bbox": [a, b, c - a, d - b], "area": (c - a) * (d - b)}
            )  # fmt: skip
        for box in answer:
            a, b, c, d = box.bbox
            answers.append({"image_id": image, "category_id": 1, "score": box.score,
                            "bbox": [a, b, c - a, d - b]})  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        truth_api = COCO()
        truth_api.dataset = {
            "info": {}, "images": [{"id": n} for n in range(1, len(found) + 1)],
            "annotations": annotations, "categories": [{"id": 1, "name": "phrase"}],
        }  # fmt: skip
        truth_api.createIndex()
        run = COCOeval(truth_api, truth_api.loadRes(answers), "bbox")
        run.params.iouThrs = np.array([0.5])
        run.params.maxDets = max_dets
        run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
        run.evaluate()
        run.accumulate()
    # Shapes: (IoUs, recalls, categories, areas, maxDets) and (IoUs, categories, areas, maxDets).
    precision, recall = run.eval["precision"], run.eval["recall"]
    return float(precision[0, :, 0, 0, -1].mean()), [float(r) for r in recall[0, 0, 0]]


def tally_of(found: list[Any]) -> MetricSums:
    """The same as one phrase for each annotation, each of an image of its own."""
    pairs = [
        Pair(
            number,
            Annotation("", (str(number),), None, ("",), (Phrase("a dog", None, tuple(truth)),)),
            (GroundedExpression("", "a dog", None, "dog", tuple(answer)),),
            None,
            True,
        )
        for number, (truth, answer) in enumerate(found)
    ]
    return MetricSums(Pairing("path", pairs, len(pairs)))


@pytest.mark.parametrize("seed", range(6))
def test_average_precision_and_recall_are_cocos(seed: int) -> None:
    found = scene(seed, phrases=40, most_true=4)
    precision, (recall,) = coco_figures(found, [100])
    tally = tally_of(found)
    ones = [1.0] * tally.groups
    sums = tally.sums(ones)
    ours = AveragePrecision(tally.ranked).value(sums["true_boxes"], ones)
    assert ours == pytest.approx(precision, abs=1e-9)
    assert 0.1 < precision < 0.9  # no trivial case
    assert sums["boxes_right"] / sums["true_boxes"] == pytest.approx(recall, abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_recall_at_k_is_cocos_where_phrases_have_one_box(seed: int) -> None:
    found = scene(seed, phrases=60, most_true=1)
    _, recalls = coco_figures(found, [1, 5, 10])
    tally = tally_of(found)
    sums = tally.sums([1.0] * tally.groups)
    ours = [sums[f"found_at_{k}"] / sums["boxed_phrases"] for k in (1, 5, 10)]
    assert ours == pytest.approx(recalls, abs=1e-9)
    assert recalls[0] < recalls[1]


def test_weights_count_groups_as_often_as_they_say() -> None:
    found = scene(7, phrases=12, most_true=3)
    weights = [random.Random(1).randint(0, 3) for _ in found]
    repeated = [
        phrase for phrase, weight in zip(found, weights, strict=True) for _ in range(weight)
    ]
    weighted, plain = tally_of(found), tally_of(repeated)
    sums, ones = weighted.sums([float(weight) for weight in weights]), [1.0] * plain.groups
    assert sums == pytest.approx(plain.sums(ones))
    ours = AveragePrecision(weighted.ranked).value(sums["true_boxes"], weights)
    theirs = AveragePrecision(plain.ranked).value(sums["true_boxes"], ones)
    assert ours == pytest.approx(theirs)


@pytest.mark.parametrize("order", [(True, False), (False, True)])
def test_equal_scores_have_no_order(order: tuple[bool, ...]) -> None:
    boxes = AveragePrecision([Ranked(0.9, right, 0) for right in order])
    assert boxes.value(1, [1.0]) == pytest.approx(0.5)


def test_average_precision_of_nothing() -> None:
    assert AveragePrecision([]).value(0, [1.0]) is None
    assert AveragePrecision([]).value(3, [1.0]) == 0.0


# Calibration


def sums_of(scored: Sequence[tuple[float, bool]]) -> dict[str, float]:
    sums = dict.fromkeys(COLUMNS, 0.0)
    for score, right in scored:
        index = bin_of(score)
        sums[f"bin_boxes_{index}"] += 1
        sums[f"bin_score_{index}"] += score
        sums[f"bin_right_{index}"] += right
    return sums


@pytest.mark.parametrize(
    ("scored", "expected"),
    [
        ([(1.0, True)] * 4, 0.0),
        ([(1.0, False)] * 4, 1.0),
        ([(0.8, True)] * 8 + [(0.8, False)] * 2, 0.0),
        # (2 * |0.95 - 0.5| + 2 * |0.15 - 1|) / 4
        ([(0.95, True), (0.95, False), (0.15, True), (0.15, True)], 0.65),
        # In one bin the gaps of single boxes cancel out.
        ([(0.92, True), (0.98, True)], 0.05),
        ([], None),
    ],
)
def test_calibration_error_by_hand(
    scored: list[tuple[float, bool]], expected: float | None
) -> None:
    found = expected_calibration_error(sums_of(scored))
    assert found == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("score", "index"), [(0.0, 0), (0.0999, 0), (0.1, 1), (0.3, 3), (0.7, 7), (0.95, 9), (1.0, 9)]
)
def test_bins(score: float, index: int) -> None:
    assert bin_of(score) == index


def test_reliability_rows() -> None:
    rows = reliability(sums_of([(0.95, True), (0.95, False), (0.15, True)]))
    assert sum(row["boxes"] for row in rows) == 3
    assert rows[9] == {
        "low": 0.9, "high": 1.0, "boxes": 2, "mean_score": pytest.approx(0.95), "share_right": 0.5,
    }  # fmt: skip
    assert rows[5]["share_right"] is None


# Bootstrap


def mean_of(values: Sequence[float]) -> Any:
    def statistic(weights: Sequence[float]) -> dict[str, float | None]:
        total = sum(w * v for w, v in zip(weights, values, strict=True))
        return {"mean": total / sum(weights)}

    return statistic


def test_bootstrap_is_that_of_its_seed() -> None:
    statistic = mean_of([0.0, 1.0, 0.0, 1.0, 1.0] * 6)
    first = intervals(statistic, 30, 200, seed=1)
    assert first == intervals(statistic, 30, 200, seed=1)
    assert first != intervals(statistic, 30, 200, seed=2)


def test_bootstrap_interval_of_a_mean_is_the_normal_one() -> None:
    rng = random.Random(0)
    values = [rng.gauss(0, 1) for _ in range(400)]
    bounds = intervals(mean_of(values), 400, 1_000, seed=0)["mean"]
    assert bounds is not None
    mean, spread = float(np.mean(values)), float(np.std(values)) / 20
    assert bounds == pytest.approx((mean - 1.96 * spread, mean + 1.96 * spread), abs=spread / 4)


@pytest.mark.parametrize(("groups", "resamples"), [(1, 100), (5, 0), (5, 1)])
def test_no_interval_from_one_image_or_no_draws(groups: int, resamples: int) -> None:
    assert intervals(mean_of([0.5] * groups), groups, resamples, seed=0) == {"mean": None}


def test_no_interval_where_a_draw_leaves_a_figure_undefined() -> None:
    def statistic(weights: Sequence[float]) -> dict[str, float | None]:
        return {"rare": 1.0 if weights[0] else None}

    assert intervals(statistic, 3, 50, seed=0) == {"rare": None}


# Matching


def phrases_of(*texts: str, caption: str = "") -> Annotation:
    phrases = []
    for text in texts:
        start = caption.find(text)
        phrases.append(Phrase(text, (start, start + len(text)) if start >= 0 else None, None))
    return Annotation("", (), None, (caption,) if caption else (), tuple(phrases))


@pytest.mark.parametrize(
    ("truth", "run", "expected"),
    [
        (["A red car"], ["red car"], [0]),
        (["the red cars"], ["a red car"], [0]),  # 14 of 15 letters
        (["cat"], ["car"], [None]),
        (["man on the left"], ["man on the right"], [None]),
        (["woman, in red"], ["the woman in red"], [0]),
        (["a dog", "a dog"], ["dog", "the dog"], [0, 1]),
        (["a dog"], ["dog", "the dog"], [0]),
        (["a dog", "a dogs"], ["dogs"], [None, 0]),  # the equal one first
        (["a", "--"], ["a", "!"], [0, None]),
        ([], ["dog"], []),
    ],
)
def test_phrases_by_text(truth: list[str], run: list[str], expected: list[int | None]) -> None:
    assert match_phrases(phrases_of(*truth), [grounded(text) for text in run], None) == expected


def test_phrases_by_place_in_the_same_caption() -> None:
    caption = "a dog by a dog"
    truth = Annotation(
        "", (), None, (caption,),
        (Phrase("a dog", (9, 14), None), Phrase("dog", (2, 5), None)),
    )  # fmt: skip
    run = [grounded("a dog", caption=caption)]  # the first one
    assert match_phrases(truth, run, caption) == [None, 0]
    assert match_phrases(truth, run, "another caption") == [0, None]  # by text, in order


def test_places_survive_tokenization() -> None:
    plain, tokenized = "The man's hat, and a dog.", "the man 's hat , and a dog ."
    truth = phrases_of("the man 's hat", "a dog", caption=tokenized)
    run = [grounded("a dog", caption=plain), grounded("man's hat", caption=plain)]
    assert match_phrases(truth, run, plain) == [1, 0]


def test_place_too_small_a_part() -> None:
    caption = "the tall man in a red shirt"
    truth = phrases_of(caption, caption=caption)
    assert match_phrases(truth, [grounded("the tall man", caption=caption)], caption) == [None]
    assert match_phrases(truth, [grounded("man in a red shirt", caption=caption)], caption) == [0]


@pytest.mark.parametrize("span", [(3, 3), (5, 99), (-2, 3), (6, 7)])
def test_a_span_that_is_no_place(span: tuple[int, int]) -> None:
    assert Folded.of("a dog , a").place(span) is None


@pytest.mark.parametrize(
    ("names", "nouns", "expected"),
    [
        (["car"], ["car", "red car", "cars", "carpet", "car door"], [[0, 1, 2]]),
        (["fire hydrant"], ["a red fire hydrant", "hydrant"], [[0]]),
        (["bus", "person"], ["two buses", "man"], [[0], []]),
        (["vase", "berry"], ["vases", "the berries"], [[0], [1]]),
        (["fire_hydrant"], ["fire hydrants"], [[0]]),
        (["car"], [""], [[]]),
        (["bear", "teddy bear"], ["a brown bear", "two teddy bears"], [[0], [1]]),
        (["knife", "person", "shirt"], ["knives", "people in white shirts"], [[0], [1], []]),
        (["pizza", "cup", "tea"], ["three slices of pizza", "a cup of tea"], [[0], [1], []]),
    ],
)
def test_categories_by_noun(names: list[str], nouns: list[str], expected: list[list[int]]) -> None:
    phrases = [Phrase(name, None, None) for name in names]
    assert match_categories(phrases, [grounded(noun) for noun in nouns]) == expected


@pytest.mark.parametrize(
    ("text", "noun", "name", "found"),
    [
        ("A blue rectangle", "rectangle", "blue rectangle", True),
        ("the two Blue rectangles on the left", "rectangles", "blue rectangle", True),
        ("A red rectangle", "rectangle", "blue rectangle", False),
        ("a wooden dining table by the door", "table", "dining table", True),
        ("a man by the dining table", "man", "dining table", False),
        ("the traffic lights", "traffic lights", "traffic light", True),
        ("a sports ball", "the ball", "sports ball", True),
        ("a ball", "ball", "sports ball", False),
    ],
)
def test_categories_of_several_words(text: str, noun: str, name: str, found: bool) -> None:
    expression = replace(grounded(text), noun_chunk=noun)
    assert match_categories([Phrase(name, None, None)], [expression]) == [[0] if found else []]


def test_which_caption() -> None:
    captions = ["A man , walking .", "A dog runs on grass .", "Dogs"]
    annotations = [Annotation("", (), None, (text,), ()) for text in captions]
    assert find_caption(annotations, "a man, walking", "") == (annotations[0], 100)
    found = find_caption(annotations, "x", "A dog runs on the grass")
    assert found and found[0] is annotations[1] and 90 <= found[1] < 100
    assert find_caption(annotations, "a cat sleeps", "") is None
    assert find_caption(annotations[:1], "a cat sleeps", "") is None
    assert find_caption([], "a cat sleeps", "") is None
