# SPDX-License-Identifier: Apache-2.0
"""Evaluations of results in files against truth in files: figures by hand, and the script."""

import json
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from conftest import Project, read_jsonl, write_jsonl
from image_grounding.errors import InputError
from image_grounding.evaluation.evaluate import Evaluation, evaluate
from image_grounding.evaluation.truth import NEEDS, read_truth
from image_grounding.exports import Plan, Setting, export_run
from image_grounding.exports.split import parse_split
from image_grounding.results.reading import Results
from support.loopback import Loopback
from support.scripts import Ran, run_script
from support.truth import CAPTION, expression, record

CAR, DOG, DOG2, MAN = (0, 0, 40, 20), (50, 0, 70, 20), (80, 0, 100, 20), (120, 0, 150, 90)
FAR = (150, 90, 200, 100)
PLOTS = ("reliability.png", "iou_histogram.png")


def evaluated(run: Path, truth: Path, resamples: int = 0, seed: int = 0) -> Evaluation:
    return evaluate(Results(run), read_truth(truth), resamples, seed)


def run_evaluate(run: Path, truth: Path, *more: str, **environment: str) -> Ran:
    return run_script("evaluate.py", str(run), "--truth", str(truth), *more, **environment)


def values(evaluation: Evaluation) -> dict[str, float | None]:
    return {name: figure.value for name, figure in evaluation.metrics.items()}


def full(image: str = "9.jpg") -> dict[str, Any]:
    """A record with everything right."""
    return record(
        image,
        [
            expression("A red car", [CAR]),
            expression("two dogs", [DOG, DOG2], scores=[0.8, 0.7]),
            expression("a man", [MAN]),
        ],
    )


def coco_truth(image: str) -> dict[str, Any]:
    named = [("A red car", CAR), ("two dogs", DOG), ("two dogs", DOG2), ("a man", MAN)]
    return {
        "images": [{"id": 1, "file_name": image, "width": 200, "height": 100, "caption": CAPTION}],
        "annotations": [
            {
                "id": number, "image_id": 1, "category_id": 1,
                "bbox": [a, b, c - a, d - b], "area": (c - a) * (d - b), "iscrowd": 0,
                "tokens_positive": [[CAPTION.index(text), CAPTION.index(text) + len(text)]],
            }
            for number, (text, (a, b, c, d)) in enumerate(named)
        ],
        "categories": [{"id": 1, "name": "object"}],
    }  # fmt: skip


def coco(folder: Path) -> Path:
    path = folder / "coco.json"
    path.write_text(json.dumps(coco_truth("val/9.jpg")))
    return path


def coco_by_category(folder: Path) -> Path:
    content = coco_truth("9.jpg")
    content["categories"] = [{"id": n, "name": x} for n, x in enumerate(["car", "dog", "man"])]
    for box, category in zip(content["annotations"], [0, 1, 1, 2], strict=True):
        del box["tokens_positive"]
        box["category_id"] = category
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    return path


def odvg(folder: Path) -> Path:
    named = [("A red car", CAR), ("two dogs", DOG), ("two dogs", DOG2), ("a man", MAN)]
    regions = [{"phrase": text, "bbox": box} for text, box in named]
    grounding = {"caption": CAPTION, "regions": regions}
    line = {"filename": "9.jpg", "height": 100, "width": 200, "grounding": grounding}
    return write_jsonl(folder / "odvg.jsonl", [line])


def flickr30k(folder: Path) -> Path:
    objects = [(1, CAR), (2, DOG), (2, DOG2), (3, MAN)]
    xml = "".join(
        f"<object><name>{chain}</name><bndbox><xmin>{a + 1}</xmin><ymin>{b + 1}</ymin>"
        f"<xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for chain, (a, b, c, d) in objects
    )
    sentence = "[/EN#1/other A red car] , [/EN#2/other two dogs] and [/EN#3/people a man] ."
    for name, text in {
        "Sentences/9.txt": f"{sentence}\n[/EN#2/animals Pets] in the snow .\n",
        "Annotations/9.xml": f"<annotation>{xml}</annotation>",
    }.items():
        path = folder / "entities" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "entities"


def refcoco(folder: Path) -> Path:
    """Boxes of one object each: the two dogs are not in it."""
    named = [(1, "red car", CAR), (2, "man", MAN)]
    home = folder / "refcoco"
    home.mkdir()
    refs = [
        {"ref_id": n, "ann_id": n, "image_id": 7, "sentences": [{"sent": text, "raw": text}]}
        for n, text, _ in named
    ]
    boxes = [{"id": n, "bbox": [a, b, c - a, d - b]} for n, _, (a, b, c, d) in named]
    images = [{"id": 7, "file_name": "COCO_9.jpg"}]
    (home / "refs(unc).json").write_text(json.dumps(refs))
    (home / "instances.json").write_text(json.dumps({"images": images, "annotations": boxes}))
    return home


def records(folder: Path) -> Path:
    return write_jsonl(folder / "truth.jsonl", [full()])


TRUTHS = {
    "coco": coco, "coco categories": coco_by_category, "odvg": odvg,
    "flickr30k": flickr30k, "records": records,
}  # fmt: skip


@pytest.mark.parametrize("name", TRUTHS)
def test_perfect_in_every_format(tmp_path: Path, name: str) -> None:
    run = full()
    if "categories" in name:
        for item, noun in zip(run["expressions"], ["car", "dogs", "man"], strict=True):
            item["noun_chunk"] = noun
    results = write_jsonl(tmp_path / "run.jsonl", [run])
    evaluation = evaluated(results, TRUTHS[name](tmp_path))
    found = values(evaluation)
    # Scores of 0.7 to 0.9 on boxes that are all right: an error of 0.175.
    assert found.pop("calibration.ece") == pytest.approx((0.1 + 0.2 + 0.3 + 0.1) / 4)
    assert found == dict.fromkeys(found, 1.0)
    assert evaluation.details["truth_format"] == name.split()[0]
    assert evaluation.counts["truth_boxes"] == 4
    assert evaluation.warnings == ()


def test_perfect_refcoco_by_image_id(tmp_path: Path) -> None:
    results = write_jsonl(tmp_path / "run.jsonl", [{**full("renamed.png"), "image_id": 7}])
    evaluation = evaluated(results, refcoco(tmp_path))
    found = values(evaluation)
    assert found["any_box.accuracy"] == found["expressions.recall"] == 1.0
    assert found["expressions.precision"] == pytest.approx(2 / 3, abs=1e-4)
    assert evaluation.details["images_found_by"] == "image_id"
    assert evaluation.counts["boxes_not_judged"] == 2


def test_figures_by_hand(tmp_path: Path) -> None:
    """Car right; of two dogs one, at second rank, and a wrong box; man without an expression."""
    run = record(
        "9.jpg",
        [
            expression("A red car", [(0, 0, 30, 20)], scores=[0.6]),  # IoU 0.75
            expression("two dogs", [FAR, DOG], scores=[0.9, 0.8]),
            expression("snow", [FAR], scores=[1.0]),
        ],
    )
    results = write_jsonl(tmp_path / "run.jsonl", [run])
    evaluation = evaluated(results, records(tmp_path))
    around = (200 - 50) * 100  # of FAR and DOG; of both dogs it is 50 x 20
    expected = {
        "expressions.precision": 2 / 3, "expressions.recall": 2 / 3, "expressions.f1": 2 / 3,
        "any_box.recall_at_1": 1 / 3, "any_box.recall_at_5": 2 / 3, "any_box.recall_at_10": 2 / 3,
        "any_box.accuracy": 1 / 2, "any_box.mean_iou": 0.75 / 2,
        "merged_box.recall": 1 / 3, "merged_box.accuracy": 1 / 2,
        "merged_box.mean_iou": (0.75 + 1000 / around) / 2,
        "boxes.precision": 2 / 3, "boxes.recall": 2 / 4, "boxes.f1": 4 / 7,
        # Wrong at 0.9, right at 0.8 and 0.6: precision 2/3 up to a recall of 1/2 (51 of 101).
        "boxes.average_precision": 51 * (2 / 3) / 101,
        "calibration.ece": (0.9 + 0.2 + 0.4) / 3,
    }  # fmt: skip
    assert values(evaluation) == pytest.approx(expected, abs=1e-4)
    counts = evaluation.counts
    assert counts["truth_phrases_without_expression"] == 1
    assert counts["expressions_not_in_truth"] == 1
    assert (counts["boxes_judged"], counts["boxes_not_judged"]) == (3, 1)
    assert sum(evaluation.iou_histogram) == 2
    assert evaluation.iou_histogram[15] == 1  # 0.75


def test_a_box_where_the_truth_saw_nothing_is_wrong(tmp_path: Path) -> None:
    truth = record("9.jpg", [expression("A red car", [CAR]), expression("a man", [])])
    run = record("9.jpg", [expression("A red car", [CAR]), expression("a man", [MAN])])
    evaluation = evaluated(
        write_jsonl(tmp_path / "run.jsonl", [run]), write_jsonl(tmp_path / "truth.jsonl", [truth])
    )
    found = values(evaluation)
    assert (found["boxes.precision"], found["boxes.recall"]) == (0.5, 1.0)
    assert found["any_box.recall_at_1"] == 1.0


def many(count: int, move: Callable[[int], int], score: float | None = 0.9) -> list[Any]:
    rows = []
    for index in range(count):
        x = move(index)
        box = (x, 0, x + 20, 20)
        rows.append(record(f"{index}.jpg", [expression("A red car", [box], scores=[score])]))
    return rows


def test_shuffled_boxes_are_not_perfect_and_intervals_are_of_the_seed(tmp_path: Path) -> None:
    places = list(range(0, 160, 4))
    truth = write_jsonl(tmp_path / "truth.jsonl", many(40, lambda index: places[index]))
    random.Random(0).shuffle(places)
    run = write_jsonl(tmp_path / "run.jsonl", many(40, lambda index: places[index]))
    first, again, other = (evaluated(run, truth, resamples=200, seed=seed) for seed in (1, 1, 2))
    for name in ("any_box.recall_at_1", "merged_box.mean_iou", "boxes.average_precision"):
        figure = first.metrics[name]
        assert figure.value is not None
        assert figure.interval is not None
        low, high = figure.interval
        assert 0 < low <= figure.value <= high < 0.6, name
        assert low < high
    assert first == again
    assert first.metrics != other.metrics
    assert values(first) == values(other)


def test_boxes_without_score_are_counted_not_invented(tmp_path: Path) -> None:
    truth = write_jsonl(tmp_path / "truth.jsonl", many(3, lambda index: 10 * index))
    run = many(2, lambda index: 10 * index, score=None) + many(3, lambda index: 10 * index)[2:]
    evaluation = evaluated(write_jsonl(tmp_path / "run.jsonl", run), truth)
    found = values(evaluation)
    assert found["boxes.average_precision"] is None
    assert found["calibration.ece"] == pytest.approx(0.1)
    assert found["any_box.recall_at_1"] == 1.0
    assert evaluation.counts["boxes_judged_without_score"] == 2
    assert sum(row["boxes"] for row in evaluation.reliability) == 1
    assert "2 boxes have no score" in evaluation.warnings[0]


def test_counts_of_what_has_no_counterpart(tmp_path: Path) -> None:
    truth = [full("1.jpg"), full("2.jpg"), full("3.jpg"), {**full("4.jpg"), "height": 300}]
    truth.append({**full("1.jpg"), "caption": "Pets", "cleaned_caption": "Pets"})
    other = "A quite different caption"
    run = [full("1.jpg"), full("1.jpg"), full("4.jpg"), full("5.jpg")]
    run.append({**full("1.jpg"), "caption": other, "cleaned_caption": other})
    evaluation = evaluated(
        write_jsonl(tmp_path / "run.jsonl", run), write_jsonl(tmp_path / "truth.jsonl", truth)
    )
    expected = {
        "records": 5, "records_evaluated": 2, "repeated_records": 1,
        "records_of_images_not_in_truth": 1, "records_of_captions_not_in_truth": 1,
        "records_of_another_image_size": 1, "images_evaluated": 2, "images_only_in_results": 1,
        "images_only_in_truth": 2, "truth_captions_without_record": 1, "truth_phrases": 6,
    }  # fmt: skip
    assert {name: evaluation.counts[name] for name in expected} == expected
    assert evaluation.details["without_counterpart"] == {
        "images_only_in_results": ["5.jpg"],
        "images_only_in_truth": ["file '2.jpg', id '2'", "file '3.jpg', id '3'"],
        "captions_only_in_results": [other],
    }
    assert "another image size" in evaluation.warnings[0]
    assert f"1 of 5 records are not evaluated: the truth has no such caption of their images as " \
        f"'{other}'" in evaluation.warnings[1]  # fmt: skip


@pytest.mark.parametrize(
    ("run_images", "truth_images", "rule"),
    [
        (["a/1.jpg", "b/1.jpg"], ["x/a/1.jpg", "x/b/1.jpg"], "path"),
        (["/data/a/1.jpg", "/data/b/1.jpg"], ["b/1.jpg", "a/1.jpg"], "path"),
        (["C:\\pictures\\1.jpg", "C:\\pictures\\2.jpg"], ["1.jpg", "2.jpg"], "path"),
        (["p/1.png", "p/2.png"], ["q/1.jpg", "q/2.jpg"], "image_id"),
    ],
)
def test_images_are_found(
    tmp_path: Path, run_images: Sequence[str], truth_images: Sequence[str], rule: str
) -> None:
    run = write_jsonl(tmp_path / "run.jsonl", [full(image) for image in run_images])
    truth = write_jsonl(tmp_path / "truth.jsonl", [full(image) for image in truth_images])
    evaluation = evaluated(run, truth)
    assert values(evaluation)["any_box.recall_at_1"] == 1.0
    assert evaluation.details["images_found_by"] == rule
    assert evaluation.counts["images_evaluated"] == 2


def test_an_image_that_could_be_two_is_none(tmp_path: Path) -> None:
    run = write_jsonl(tmp_path / "run.jsonl", [full("1.jpg"), full("a/2.jpg")])
    images = ["a/1.jpg", "b/1.jpg", "a/2.jpg"]
    truth = write_jsonl(tmp_path / "truth.jsonl", [full(image) for image in images])
    counts = evaluated(run, truth).counts
    assert (counts["images_evaluated"], counts["images_only_in_results"]) == (1, 1)


def test_no_image_in_common_says_what_is_on_either_side(tmp_path: Path) -> None:
    run = write_jsonl(tmp_path / "run.jsonl", [full("mine/cat.jpg")])
    truth = write_jsonl(tmp_path / "truth.jsonl", [full("theirs/000139.jpg")])
    ran = run_evaluate(run, truth)
    assert ran.code == 2
    assert "Traceback" not in ran.err
    for text in ("'mine/cat.jpg'", "'cat'", "'theirs/000139.jpg'", "'000139'"):
        assert text in ran.err
        assert text in ran.json["error"]


def test_no_caption_in_common_says_what_is_on_either_side(tmp_path: Path) -> None:
    sky = "The sky at night"
    truth = [full(), {**full(), "caption": "Pets", "cleaned_caption": "Pets"}]
    run = {**full(), "caption": sky, "cleaned_caption": sky}
    with pytest.raises(InputError, match=f"{sky}.*{CAPTION}"):
        evaluated(
            write_jsonl(tmp_path / "run.jsonl", [run]), write_jsonl(tmp_path / "truth.jsonl", truth)
        )


@pytest.mark.parametrize(
    ("minimum", "code", "text"),
    [
        ("any_box.accuracy=1.1", 3, "any_box.accuracy is 1.0000, below 1.1"),
        ("boxes.average_precision=0", 3, "not defined"),
        ("accuracy=0.9", 2, "any_box.accuracy"),
        ("any_box.accuracy", 2, "METRIC=VALUE"),
        ("any_box.accuracy=high", 2, "METRIC=VALUE"),
    ],
)
def test_gate_is_closed(tmp_path: Path, minimum: str, code: int, text: str) -> None:
    truth = write_jsonl(tmp_path / "truth.jsonl", many(3, lambda index: 10 * index))
    run = write_jsonl(tmp_path / "run.jsonl", many(3, lambda index: 10 * index, score=None))
    ran = run_evaluate(run, truth, "--min", minimum, "--resamples", "0")
    assert ran.code == code, ran.err
    assert text in ran.err
    assert ran.json["exit_code"] == code


def test_files_table_and_plots_and_a_gate_that_is_open(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    write_jsonl(results / "annotations.jsonl", [full()])
    ran = run_evaluate(results, records(tmp_path), "--min", "any_box.accuracy=0.9")
    folder = results / "evaluation"
    assert ran.code == ran.json["exit_code"] == 0, ran.err
    written = json.loads((folder / "evaluation.json").read_text())
    values = {name: figure["value"] for name, figure in written["metrics"].items()}
    assert values == ran.json["metrics"]
    assert written.keys() >= {"reliability", "iou_histogram"} and len(ran.out) < 3000
    assert "any_box.recall_at_1" in ran.err
    assert ran.json["files"] == [str(folder / name) for name in ("evaluation.json", *PLOTS)]
    for name in PLOTS:
        with Image.open(folder / name) as image:
            assert image.format == "PNG"
            assert image.width >= 600
            assert len(image.convert("RGB").getcolors(1 << 20) or ()) > 10  # something is drawn


def test_without_matplotlib_all_but_the_plots(tmp_path: Path) -> None:
    """A package of its name that cannot be imported stands before the real one."""
    stand_in = tmp_path / "path" / "matplotlib"
    stand_in.mkdir(parents=True)
    (stand_in / "__init__.py").write_text("raise ImportError('not here')")
    output = tmp_path / "out"
    output.mkdir()
    for name in PLOTS:
        (output / name).write_bytes(b"of an earlier evaluation")
    run = write_jsonl(tmp_path / "run.jsonl", [full()])
    path = os.pathsep.join([str(stand_in.parent), os.environ.get("PYTHONPATH", "")])
    ran = run_evaluate(run, records(tmp_path), "-o", str(output), PYTHONPATH=path)
    assert ran.code == 0, ran.err
    assert "no plots" in ran.err and "setup_env.py --extras plots" in ran.err
    assert ran.json["files"] == [str(output / "evaluation.json")]
    assert not any((output / name).exists() for name in PLOTS)  # old ones would mislead


def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    run = write_jsonl(tmp_path / "run.jsonl", [full()])
    blocked = tmp_path / "file"
    blocked.write_text("")
    ran = run_evaluate(run, records(tmp_path), "-o", str(blocked / "out"))
    assert ran.code == 2
    assert "cannot write" in ran.err


def test_step_0_alone_evaluates_expressions(tmp_path: Path) -> None:
    row = record("9.jpg", [expression("a man", [])], pipeline_steps=["step0_expression_extraction"])
    evaluation = evaluated(write_jsonl(tmp_path / "run.jsonl", [row]), records(tmp_path))
    found = values(evaluation)
    assert found["expressions.recall"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["any_box.recall_at_1"] is None
    assert found["boxes.recall"] is None
    assert "step 1 has not run" in evaluation.warnings[0]


def test_a_real_run_against_its_scenes(
    make_project: Callable[..., Project], server: Loopback, tmp_path: Path
) -> None:
    """The pipeline's own results against where the rectangles truly are."""
    project = make_project(count=4)
    assert project.run(server).code == 0
    lines = [
        {
            "filename": name,
            "width": scene.size[0],
            "height": scene.size[1],
            "grounding": {
                "caption": scene.caption,
                "regions": [
                    {"phrase": f"a {colour} rectangle", "bbox": box} for colour, box in scene.boxes
                ],
            },
        }
        for name, scene in project.scenes.items()
    ]
    truth = write_jsonl(tmp_path / "scenes.jsonl", lines)
    found = values(evaluated(project.results, truth))
    assert found["any_box.recall_at_1"] == found["expressions.f1"] == found["boxes.f1"] == 1.0
    assert found["any_box.mean_iou"] is not None
    assert 0.95 < found["any_box.mean_iou"] <= 1.0

    # The same boxes as if x and y were exchanged: a wrong convention shows.
    rows = read_jsonl(project.results / "annotations.jsonl")
    for row in rows:
        for box in (box for item in row["expressions"] for box in item["instances"]):
            x1, y1, x2, y2 = box["bbox"]
            box["bbox"] = [y1, x1, y2, x2]
    wrong = values(evaluated(write_jsonl(tmp_path / "wrong.jsonl", rows), truth))
    assert wrong["any_box.recall_at_1"] is not None
    assert wrong["any_box.recall_at_1"] < 0.5
    assert wrong["expressions.f1"] == 1.0


def by_category(folder: Path, project: Project, name: str) -> Path:
    """Plain COCO of where the rectangles are: neither phrases nor captions, as instances_*.json."""
    boxes = [
        (image, colour, box)
        for image, scene in enumerate(project.scenes.values())
        for colour, box in scene.boxes
    ]
    names = sorted({name.format(colour) for _, colour, _ in boxes})
    content = {
        "images": [
            {"id": number, "file_name": file, "width": scene.size[0], "height": scene.size[1]}
            for number, (file, scene) in enumerate(project.scenes.items())
        ],
        "categories": [{"id": number, "name": noun} for number, noun in enumerate(names)],
        "annotations": [
            {"id": number, "image_id": image, "category_id": names.index(name.format(colour)),
             "bbox": [a, b, c - a, d - b], "area": (c - a) * (d - b), "iscrowd": 0}
            for number, (image, colour, (a, b, c, d)) in enumerate(boxes)
        ],
    }  # fmt: skip
    path = folder / "instances_val2017.json"
    path.write_text(json.dumps(content))
    return path


def test_category_names_of_several_words_are_found(
    make_project: Callable[..., Project], server: Loopback, tmp_path: Path
) -> None:
    project = make_project(count=3)
    assert project.run(server).code == 0
    found = evaluated(project.results, by_category(tmp_path, project, "{} rectangle"))
    for name in ("any_box.recall_at_1", "expressions.precision", "boxes.f1"):
        assert values(found)[name] == 1.0
    assert list(found.warnings) == []

    # Names that no expression has: not zeros alone, but what was compared and what is needed.
    ran = run_evaluate(project.results, by_category(tmp_path, project, "{} car"))
    assert ran.code == 0, ran.err
    (warning,) = ran.json["warnings"]
    assert f"warning: {warning}" in ran.err
    assert NEEDS["coco"] in warning
    colours = [colour for scene in project.scenes.values() for colour, _ in scene.boxes]
    for text in (f"'a {colours[0]} rectangle'", f"'{colours[0]} car'"):
        assert text in warning.lower()
    assert f"0 of {ran.json['counts']['expressions']} expressions" in warning


def test_a_tenth_of_the_truth_is_too_little(tmp_path: Path) -> None:
    truth = record("9.jpg", [expression(f"thing {index}", [CAR], None) for index in range(11)])
    run = record("9.jpg", [expression("thing 0", [CAR], None)])
    files = [write_jsonl(tmp_path / f"{name}.jsonl", [row]) for name, row in
             (("run", run), ("truth", truth))]  # fmt: skip
    (warning,) = evaluated(files[0], files[1]).warnings
    assert "1 of its 11 phrases" in warning
    assert "such as none with phrases such as 'thing 1' and 'thing 2'" in warning
    assert NEEDS["records"] in warning


def own_results(folder: Path) -> Path:
    """Two images of one name, one with captions of the same words for other things."""
    dog, cap = "A dog", "A dog, a dog; the man's hat"
    dogs = [expression("dog", [box], cap) for box in (DOG, DOG2)]
    dogs[1] |= {"expression_id": "second", "char_span": [9, 12]}
    rows = [
        full("a/9.jpg"),
        record("b/9.jpg", [*dogs, expression("man's hat", [MAN], cap)], caption=cap),
        record("b/9.jpg", [expression(dog, [CAR, FAR], "A dog {here}")], caption="A dog {here}"),
        record("b/9.jpg", [expression(dog, [DOG2], "A dog: \u201c狗\u201d")],
               caption="A dog: \u201c狗\u201d"),
    ]  # fmt: skip
    for number, row in enumerate(rows):
        row |= {"image_id": len(rows) - number, "sample_id": f"s{number}"}
        path = folder / row["image_path"]
        path.parent.mkdir(exist_ok=True)
        Image.new("L", (200, 100), number).save(path)
    return write_jsonl(folder / "run.jsonl", rows)


@pytest.mark.parametrize("copy_images", [False, True])
@pytest.mark.parametrize("name", ["coco", "odvg", "flickr30k", "refcoco", "tao"])
def test_a_run_against_its_own_export_is_perfect(
    tmp_path: Path, name: str, copy_images: bool
) -> None:
    run, exported = own_results(tmp_path), tmp_path / name
    export_run(Results(run), Plan(name, copy_images=copy_images), exported)
    evaluation = evaluated(run, exported)
    found = values(evaluation)
    assert found["any_box.accuracy"] == found["boxes.precision"] == found["boxes.recall"] == 1.0
    assert found["expressions.recall"] == found["merged_box.mean_iou"] == 1.0
    several = 2 if name == "refcoco" else 0  # the two dogs, and the dog with two boxes
    assert evaluation.counts["records_of_captions_not_in_truth"] == several // 2
    assert evaluation.counts["expressions_not_in_truth"] == several // 2
    assert evaluation.counts["images_evaluated"] == 2
    assert evaluation.details["images_found_by"] == ("copy" if copy_images else "path")


def test_a_part_of_an_export_must_be_named(tmp_path: Path) -> None:
    run, split = own_results(tmp_path), parse_split("0.5/0.5", 0)
    export_run(
        Results(run), Plan("coco", split=split, setting=Setting(split.parts)), tmp_path / "o"
    )
    with pytest.raises(InputError, match=r"several parts \(train.json, val.json\)"):
        evaluated(run, tmp_path / "o")
    evaluation = evaluated(run, tmp_path / "o" / "val.json")
    assert values(evaluation)["boxes.f1"] == 1.0
    assert evaluation.counts["images_evaluated"] == 1


def test_the_record_of_a_caption_is_the_one_that_is_most_alike(tmp_path: Path) -> None:
    """Not the first one of the image: that one is of another caption, and its boxes of others."""
    close, other = CAPTION.replace("a man", "a mat"), "A quite different caption"
    wrong = [expression("A red car", [FAR])]
    rows = [record("9.jpg", wrong, caption=text) for text in (other, close)]
    run = write_jsonl(tmp_path / "run.jsonl", [*rows, full(), full(), rows[1]])
    evaluation = evaluated(run, records(tmp_path))
    assert values(evaluation)["boxes.f1"] == 1.0
    counts = evaluation.counts
    assert (counts["records_evaluated"], counts["repeated_records"]) == (1, 1)
    assert counts["records_of_captions_not_in_truth"] == 3

    alone = write_jsonl(tmp_path / "alone.jsonl", rows)  # nothing better: close enough counts
    assert evaluated(alone, records(tmp_path)).counts["records_evaluated"] == 1
    far = write_jsonl(tmp_path / "far.jsonl", rows[:1])  # though the image has no other caption
    with pytest.raises(InputError, match="no caption of theirs"):
        evaluated(far, records(tmp_path))


def test_the_embedded_annotator_is_named(tmp_path: Path) -> None:
    run = write_jsonl(tmp_path / "annotations.jsonl", [full()])
    summary = {"teacher": {"backend": "local", "convention": None}}
    (tmp_path / "run_summary.json").write_text(json.dumps(summary))
    (caveat,) = evaluated(run, records(tmp_path)).warnings
    assert "embedded annotator" in caveat
