# SPDX-License-Identifier: Apache-2.0
import contextlib
import io
import json
import os
import pickle
import random
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from conftest import run_script, write_jsonl
from image_grounding.annotations import Instance
from image_grounding.boxes import box_iou
from image_grounding.errors import InputError
from image_grounding.evaluation.bootstrap import bootstrap_intervals, percentile
from image_grounding.evaluation.calibration import Reliability, bin_of, calibration_error
from image_grounding.evaluation.evaluate import evaluate
from image_grounding.evaluation.matching import ImageIndex, match_phrases, normalise
from image_grounding.evaluation.metrics import add_phrase, figures
from image_grounding.evaluation.truth import ImageKey, TruthExample, TruthPhrase, read_truth
from image_grounding.results import GroundedExpression, Results
from support.results import make_line, write_results

CAPTIONS = ("A red car beside the old barn", "Two men with a small dog", "A cat on the sofa")
SAID = (
    (("A red car", (10, 20, 110, 80)), ("the old barn", (200, 40, 400, 300))),
    (("Two men", (5, 5, 305, 405)), ("a small dog", (320, 300, 420, 400))),
    (("A cat", (50, 60, 150, 160)), ("the sofa", (0, 100, 600, 470))),
)


def lines(shift=0, score=1.0):
    """Records of the three captions; boxes moved by ``shift`` images."""
    return [
        make_line(
            number,
            [
                (text, [SAID[(number + shift) % 3][place][1]], [score])
                for place, (text, _) in enumerate(said)
            ],
            caption=CAPTIONS[number],
            image=f"photos/{number}.jpg",
        )
        for number, said in enumerate(SAID)
    ]


def spans(number, text):
    start = CAPTIONS[number].index(text)
    return [start, start + len(text)]


def write_coco(folder, *, captions):
    """COCO JSON with phrases on annotations, or with a category for each phrase."""
    texts = [text for said in SAID for text, _ in said]
    rows = []
    for number, said in enumerate(SAID):
        for text, (x1, y1, x2, y2) in said:
            row = {
                "id": len(rows) + 1,
                "image_id": number + 50,
                "category_id": texts.index(text),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "iscrowd": 0,
            }
            rows.append({**row, "phrase": text, "caption": CAPTIONS[number]} if captions else row)
    rows.append({"id": 99, "image_id": 50, "category_id": 0, "bbox": [0, 0, 9, 9], "iscrowd": 1})
    path = folder / "instances.json"
    path.write_text(
        json.dumps(
            {
                "images": [{"id": 50 + n, "file_name": f"{n}.jpg"} for n in range(3)],
                "annotations": rows,
                "categories": [{"id": n, "name": text} for n, text in enumerate(texts)],
            },
            indent=1,
        )
    )
    return path


def coco_phrases(folder):
    return write_coco(folder, captions=True)


def coco_categories(folder):
    return write_coco(folder, captions=False)


def odvg(folder):
    return write_jsonl(
        folder / "odvg.jsonl",
        [
            {
                "filename": f"/data/photos/{number}.jpg",
                "height": 480,
                "width": 640,
                "grounding": {
                    "caption": CAPTIONS[number],
                    "regions": [
                        {"bbox": box, "phrase": text, "tokens_positive": [spans(number, text)]}
                        for text, box in said
                    ],
                },
            }
            for number, said in enumerate(SAID)
        ],
    )


def refs():
    count = iter(range(1, 99))
    return [
        {
            "ref_id": (one := next(count)),
            "ann_id": one,
            "image_id": 50 + number,
            "split": "val",
            "sentences": [{"raw": text, "sent": text.lower()}],
        }
        for number, said in enumerate(SAID)
        for text, _ in said
    ]


def refcoco_json(folder):
    coco_categories(folder)
    (folder / "refs.json").write_text(json.dumps(refs()))
    return folder


def refcoco_pickle(folder):
    coco_categories(folder)
    (folder / "refs(unc).p").write_bytes(pickle.dumps(refs(), protocol=2))
    return folder


def flickr30k(folder):
    for name in ("Sentences", "Annotations"):
        (folder / name).mkdir()
    for number, said in enumerate(SAID):
        sentence, objects = CAPTIONS[number], ""
        for place, (text, (x1, y1, x2, y2)) in enumerate(said):
            sentence = sentence.replace(text, f"[/EN#{place}/other {text}]")
            objects += (
                f"<object><name>{place}</name><bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin>"
                f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            )
        (folder / "Sentences" / f"{number}.txt").write_text(sentence + "\n")
        (folder / "Annotations" / f"{number}.xml").write_text(
            f"<annotation><filename>{number}.jpg</filename>{objects}</annotation>"
        )
    return folder


def records(folder):
    return write_jsonl(folder / "truth.jsonl", lines())


TRUTHS = {
    coco_phrases: "coco",
    coco_categories: "coco",
    odvg: "odvg",
    refcoco_json: "refcoco",
    refcoco_pickle: "refcoco",
    flickr30k: "flickr30k",
    records: "records",
}
each_truth = pytest.mark.parametrize("truth", TRUTHS, ids=lambda make: make.__name__)


def compare(folder, truth, said, **more):
    path = write_jsonl(folder / "said.jsonl", said)
    return evaluate(Results(path).records(), truth, **more)


# --- truth formats


@each_truth
def test_perfect_predictions_are_perfect(truth, tmp_path):
    name, examples = read_truth(truth(tmp_path))
    assert name == TRUTHS[truth]
    found = compare(tmp_path, examples, lines(), resamples=20)
    assert found.figures.pop("ece") == 0
    assert len(found.figures) == 14
    assert set(found.figures.values()) == {1.0}
    assert found.intervals["mean_iou"] == (1.0, 1.0)
    assert found.ious == [1.0] * 6
    assert {name: count for name, count in found.counts.items() if count} == {
        "records": 3, "images": 3, "expressions": 6, "phrases": 6,
    }  # fmt: skip


@each_truth
def test_boxes_of_other_images_are_not_perfect(truth, tmp_path):
    _, examples = read_truth(truth(tmp_path))
    found = compare(tmp_path, examples, lines(shift=1), resamples=20)
    assert found.figures["expression_f1"] == 1.0
    ious = [
        box_iou(said[place][1], SAID[(number + 1) % 3][place][1])
        for number, said in enumerate(SAID)
        for place in range(2)
    ]
    assert found.figures["mean_iou"] == pytest.approx(sum(ious) / 6)
    assert found.figures["mean_iou"] < 0.5
    assert found.figures["ece"] == pytest.approx(1 - found.figures["accuracy@0.5"])


def test_flickr30k_scenes_have_no_box_and_notvisual_is_left_out(tmp_path):
    flickr30k(tmp_path)
    (tmp_path / "Sentences" / "0.txt").write_text(
        "In [/EN#9/scene the yard] [/EN#0/notvisual it] is [/EN#0/other A red car] .\n"
    )
    example = read_truth(tmp_path)[1][0]
    assert example.caption == "In the yard it is A red car ."
    first = example.phrases[0]
    assert (first.text, first.span, first.boxes) == (
        "the yard", (3, 11), (),
    )  # fmt: skip


class Hostile:
    def __reduce__(self):
        return os.mkdir, (os.environ["HOSTILE"],)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_hostile_pickle_is_refused(protocol, tmp_path, monkeypatch):
    monkeypatch.setenv("HOSTILE", str(tmp_path / "made"))
    coco_categories(tmp_path)
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps([Hostile()], protocol=protocol))
    with pytest.raises(InputError, match="mkdir, which is refused"):
        read_truth(tmp_path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("name", "content", "kind", "message"),
    [
        ("t.json", '{"images": []}', "auto", "not a truth in the format coco"),
        ("t.json", "{", "auto", "not JSON"),
        ("t.jsonl", '{"filename": "a"}', "odvg", "line 1: not ODVG"),
        ("t.jsonl", '{"other": 1}', "auto", "give --truth-format"),
        ("t.json", '{"images": [], "annotations": []}', "auto", "holds no phrase"),
        ("refs.p", "nonsense", "auto", "cannot read"),
    ],
)
def test_unusable_truth(name, content, kind, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        read_truth(tmp_path / name, kind)


# --- matching


@pytest.mark.parametrize(
    ("path", "image_id", "found"),
    [
        ("x/train/1.jpg", "7", ImageKey("10", "train/1.jpg")),
        ("val/1.jpg", "7", ImageKey("20", "val/1.jpg")),
        ("1.jpg", "20", ImageKey("20", "val/1.jpg")),
        ("1.jpg", "7", None),
        ("renamed.jpg", "30", ImageKey("30", "2.jpg")),
        ("30.png", "x", ImageKey("30", "2.jpg")),
        ("2.jpg", "10", ImageKey("30", "2.jpg")),
        ("3.jpg", "99", None),
    ],
)
def test_images_by_path_then_id(path, image_id, found, tmp_path):
    keys = [ImageKey("10", "train/1.jpg"), ImageKey("20", "val/1.jpg"), ImageKey("30", "2.jpg")]
    row = {**make_line(0, []), "image_path": path, "image_id": image_id}
    (record,) = Results(write_jsonl(tmp_path / "r.jsonl", [row])).records()
    assert ImageIndex(keys).find(record) == found


def expression(text, span=None):
    return GroundedExpression("e", text, span, text, ())


def phrase(text, span=None, *boxes):
    return TruthPhrase(text, span, boxes)


@pytest.mark.parametrize(
    ("said", "truth", "same", "pairs"),
    [
        # The second dog by its place, whatever the order.
        (
            [expression("dog", (9, 12)), expression("dog", (0, 3))],
            [phrase("dog", (0, 3)), phrase("dog", (9, 12))],
            True,
            {0: 1, 1: 0},
        ),
        # Spans of another text say nothing.
        ([expression("cat", (0, 3))], [phrase("dog", (0, 3))], False, {}),
        ([expression("cat", (0, 3))], [phrase("dog", (0, 3))], True, {0: 0}),
        ([expression("The  Dog.")], [phrase("a dog")], False, {0: 0}),
        ([expression("dog"), expression("dog")], [phrase("dog")], False, {0: 0}),
        ([expression("dog")], [phrase("dog"), phrase("dog")], False, {0: 0}),
        ([expression("grey elephant")], [phrase("gray elephant")], False, {0: 0}),
        ([expression("cat")], [phrase("cap")], False, {}),
        # The most alike first.
        (
            [expression("two young women"), expression("two young woman")],
            [phrase("two young woman x")],
            False,
            {0: 1},
        ),
    ],
)
def test_phrases_match_one_to_one(said, truth, same, pairs):
    assert match_phrases(said, truth, same_caption=same) == pairs


def test_normalised_text_is_never_empty():
    assert [normalise(text) for text in ("The", "A  big, DOG!", "...")] == ["the", "big dog", "..."]


# --- figures


def test_known_answers(tmp_path):
    """One phrase of two boxes, one of one box, one not said; worked out by hand."""
    truth = [
        TruthExample(
            ImageKey(None, "0.jpg"),
            "two dogs and a cat on a mat",
            (
                phrase("two dogs", (0, 8), (0, 0, 10, 10), (20, 0, 30, 10)),
                phrase("a cat", (13, 18), (0, 0, 100, 100)),
                phrase("a mat", (22, 27), (0, 0, 50, 50)),
            ),
        )
    ]
    said = make_line(
        0,
        [
            # By score: around both, then the left one, then the left one again.
            ("two dogs", [(0, 0, 10, 10), (0, 0, 30, 10), (0, 0, 10, 10)], [0.8, 0.95, 0.3]),
            ("a cat", [(0, 0, 100, 40), (0, 0, 100, 50)], [None, 0.65]),
            ("on", [(0, 0, 5, 5)], [0.2]),
        ],
        caption="two dogs and a cat on a mat",
        image="0.jpg",
    )
    found = compare(tmp_path, truth, [said])
    assert found.figures == pytest.approx(
        {
            # The cat's best box is exactly IoU 0.5, which counts; the dogs' is 1/3.
            "any_box_recall@1": 1 / 3, "any_box_recall@5": 2 / 3, "any_box_recall@10": 2 / 3,
            "merged_box_recall@1": 2 / 3, "merged_box_recall@5": 2 / 3,
            "merged_box_recall@10": 2 / 3,
            # Of four true boxes: the cat; then the left dog, once.
            "box_recall@1": 1 / 4, "box_recall@5": 2 / 4, "box_recall@10": 2 / 4,
            "accuracy@0.5": 1 / 3, "mean_iou": (1 / 3 + 1 / 2 + 0) / 3,
            "expression_precision": 2 / 3, "expression_recall": 2 / 3, "expression_f1": 2 / 3,
            # 0.95 and 0.3 wrong, 0.8 and 0.65 right.
            "ece": (0.95 + 0.2 + 0.3 + 0.35) / 4,
        }
    )  # fmt: skip
    assert found.intervals == dict.fromkeys(found.figures)
    counts = {"null_scores": 1, "phrases_unmatched": 1, "expressions_unmatched": 1}
    assert {name: found.counts[name] for name in counts} == counts


def test_what_is_on_one_side_is_counted(tmp_path):
    truth = [
        TruthExample(ImageKey(None, "0.jpg"), CAPTIONS[0], (phrase("car", None, (0, 0, 9, 9)),)),
        TruthExample(ImageKey(None, "0.jpg"), "a meadow", (phrase("meadow"),)),
        TruthExample(ImageKey(None, "9.jpg"), None, (phrase("x"),)),
    ]
    first, second, _ = lines()
    other = {**make_line(5, [("a boat", [])], caption="a boat"), "image_path": "0.jpg"}
    found = compare(tmp_path, truth, [first, first, second, other], resamples=0)
    expected = {
        "records": 4, "repeated_records": 1, "images": 1, "images_only_in_results": 1,
        "images_only_in_truth": 1, "records_without_caption_in_truth": 1,
        "captions_without_record": 1,
    }  # fmt: skip
    assert {name: found.counts[name] for name in expected} == expected


def test_records_of_step_0_have_no_figures_of_boxes(tmp_path):
    _, truth = read_truth(records(tmp_path))
    said = [make_line(0, [(text, []) for text, _ in SAID[0]], caption=CAPTIONS[0], grounded=False)]
    said[0]["image_path"] = "photos/0.jpg"
    found = compare(tmp_path, truth, said)
    assert found.figures["expression_f1"] == 1.0
    assert {found.figures[name] for name in ("mean_iou", "accuracy@0.5", "ece")} == {None}
    assert found.counts["records_not_grounded"] == 1


# --- against pycocotools

sides = st.tuples(*[st.integers(0, 60)] * 2, *[st.integers(1, 60)] * 2)


@given(sides, sides)
def test_iou_is_that_of_pycocotools(first, second):
    (expected,) = mask.iou([list(first)], [list(second)], [0])[0]
    one, other = ((x, y, x + w, y + h) for x, y, w, h in (first, second))
    assert box_iou(one, other) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_box_recall_is_that_of_cocoeval(seed):
    """Recall at IoU 0.5 of the best 1, 5 and 10 boxes, with a category in each image."""
    rng = random.Random(seed)
    sums = defaultdict(float)
    images, truth, said = [], [], []

    def near(box, by):
        x, y, w, h = (side + rng.randint(-by, by) for side in box)
        return [max(x, 0), max(y, 0), max(w, 1), max(h, 1)]

    def corners(box):
        return (box[0], box[1], box[0] + box[2], box[1] + box[3])

    for image in range(1, 31):
        images.append({"id": image, "width": 200, "height": 200})
        boxes = [near((60, 60, 60, 60), 40) for _ in range(rng.randint(1, 6))]
        guesses = [near(rng.choice(boxes), 15) for _ in range(rng.randint(0, 12))]
        scores = rng.sample(range(1000), len(guesses))
        for box in boxes:
            row = {"id": len(truth) + 1, "image_id": image, "category_id": 1, "iscrowd": 0}
            truth.append({**row, "bbox": box, "area": box[2] * box[3]})
        for box, score in zip(guesses, scores, strict=True):
            said.append({"image_id": image, "category_id": 1, "bbox": box, "score": score / 1000})
        add_phrase(
            sums,
            phrase("thing", None, *map(corners, boxes)),
            [
                Instance(corners(box), score / 1000)
                for box, score in zip(guesses, scores, strict=True)
            ],
        )
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = COCO()
        dataset.dataset = {
            "images": images, "annotations": truth, "categories": [{"id": 1, "name": "thing"}],
        }  # fmt: skip
        dataset.createIndex()
        judge = COCOeval(dataset, dataset.loadRes(said), "bbox")
        judge.params.iouThrs = judge.params.iouThrs[:1]
        judge.params.maxDets = [1, 5, 10]
        judge.evaluate()
        judge.accumulate()
    found = figures(sums)
    for place, rank in enumerate((1, 5, 10)):
        assert found[f"box_recall@{rank}"] == pytest.approx(judge.eval["recall"][0, 0, 0, place])
    assert 0 < found["box_recall@1"] < found["box_recall@5"] < found["box_recall@10"] < 1


# --- calibration and intervals


def test_calibration_error_by_hand():
    sums = defaultdict(float)
    reliability = Reliability()
    for score, right in [(0.95, True), (0.91, False), (1.0, True), (0.15, False), (None, True)]:
        reliability.add(sums, score, right)
    # Bin 9: scores 2.86, two right; bin 1: 0.15, none right.
    assert calibration_error(sums) == pytest.approx((0.86 + 0.15) / 4)
    assert reliability.null_scores == 1
    rows = reliability.as_json()
    assert [row["boxes"] for row in rows] == [0, 1, 0, 0, 0, 0, 0, 0, 0, 3]
    assert rows[9]["mean_score"] == pytest.approx(2.86 / 3)
    assert rows[9]["accuracy"] == pytest.approx(2 / 3)
    assert rows[0]["accuracy"] is None
    assert calibration_error({}) is None


def test_bins_take_every_score():
    assert [bin_of(score) for score in (0.0, 0.0999, 0.1, 0.95, 1.0)] == [0, 0, 1, 9, 9]


def share(sums):
    return {"share": sums["good"] / sums["all"] if sums.get("all") else None}


def test_bootstrap_is_seeded_and_as_wide_as_theory():
    rows = [{"good": number % 2, "all": 1} for number in range(400)]
    first = bootstrap_intervals(rows, share, seed=3)
    assert first == bootstrap_intervals(rows, share, seed=3)
    assert first != bootstrap_intervals(rows, share, seed=4)
    # A proportion of one half among 400: 0.5 +- 1.96 * 0.025.
    assert first["share"] == pytest.approx((0.451, 0.549), abs=0.01)


def test_bootstrap_draws_images_not_phrases():
    """Ten phrases of an image that are right or wrong together are as good as one."""
    alone = bootstrap_intervals([{"good": n % 2, "all": 1} for n in range(100)], share)
    together = bootstrap_intervals([{"good": 10 * (n % 2), "all": 10} for n in range(100)], share)
    assert alone == together


def test_percentiles_are_interpolated():
    assert [percentile([0.0, 1.0, 2.0], at) for at in (0, 0.25, 0.5, 1)] == [0, 0.5, 1, 2]


# --- the script


def test_script_writes_table_json_and_plots(tmp_path):
    results = write_results(tmp_path, lines(shift=1, score=0.85), images=False)
    truth = odvg(tmp_path)
    ran = run_script("evaluate.py", str(results), "--truth", str(truth), "--resamples", "50")
    assert ran.code == 0, ran.err
    folder = results / "evaluation"
    assert json.loads((folder / "evaluation.json").read_text()) == ran.json
    assert ran.json["truth_format"] == "odvg"
    assert ran.json["metrics"]["expression_recall"] == {"value": 1.0, "interval": [1.0, 1.0]}
    low, high = ran.json["metrics"]["mean_iou"]["interval"]
    assert low <= ran.json["metrics"]["mean_iou"]["value"] <= high
    assert "merged_box_recall@5" in ran.err and "images only in truth" in ran.err
    for path in ran.json["plots"]:
        assert Path(path).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(ran.json["plots"]) == 2


def test_script_without_matplotlib_says_so(tmp_path):
    results = write_results(tmp_path, lines(), images=False)
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "matplotlib.py").write_text("raise ImportError('not installed')")
    ran = run_script(
        "evaluate.py", str(results), "--truth", str(records(tmp_path)), "-o", str(tmp_path / "o"),
        PYTHONPATH=str(hidden),
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert ran.json["plots"] is None and "install matplotlib" in ran.err
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["evaluation.json"]


def test_script_without_overlap_names_both_sides(tmp_path):
    results = write_results(tmp_path, lines(), images=False)
    truth = write_jsonl(
        tmp_path / "t.jsonl", [make_line(77, [("a boat", [(0, 0, 9, 9)])], image="boat.jpg")]
    )
    ran = run_script("evaluate.py", str(results), "--truth", str(truth), "--quiet")
    assert ran.code == 2
    assert "photos/0.jpg" in ran.json["error"] and "boat.jpg" in ran.json["error"]
    assert "Traceback" not in ran.err
    assert not (results / "evaluation").exists()
