# SPDX-License-Identifier: Apache-2.0
import itertools
import json
import os
import pickle
import random
from collections import Counter
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import pyarrow.parquet
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO

from conftest import read_jsonl
from image_grounding.boxes.frames import CONVENTIONS, Frame
from image_grounding.boxes.geometry import box_iou, to_original
from image_grounding.errors import InputError, OutputError, SpecError
from image_grounding.exports import FORMATS, Plan, Setting, export_run
from image_grounding.exports.filter import BoxFilter
from image_grounding.exports.images import Paths
from image_grounding.exports.split import Split, parse_split
from image_grounding.exports.vlm_sft import STYLES, in_square, write_box
from image_grounding.results.reading import Results
from support.results import make_line, write_results
from support.scripts import run_script

DOG, CAT, TREE = (10, 20, 110, 220), (200, 100, 260, 150), (300, 0, 640, 480)
HOSTILE = 'A "dog" <img src=x onerror=alert(1)>\n[/EN#9/x] | `rm` 狗 \U0001f415 & <image> </s>'
EVIL_NAMES = [
    "../../outside.png",
    'sub/a dog\'s "picture".png',
    "line\nbreak.png",
    "图片/狗 \U0001f415.png",
    "other/0.png",
    "-rf.png",
    "50% of #1 & a+b=c?d=e%20f.png",
]


def some_lines():
    """Two captions of one image, an expression not seen, one not in the caption, no score."""
    return [
        make_line(0, [("a dog", [DOG]), ("cats", [CAT, TREE])], caption="\U0001f415 a dog, cats."),
        make_line(1, [("a dog", [DOG], [None]), ("a bird", [])], image="0.png"),
        make_line(2, [("a tree", [TREE]), ("nowhere", [CAT])], caption="I see a tree"),
        make_line(3, [("a bird", [])]),
    ]


@pytest.fixture
def results(tmp_path):
    return write_results(tmp_path, some_lines(), ["timeout"])


def hostile_results(folder):
    """Pictures with every kind of name, in and out of the folder, and an absolute one."""
    inside = folder / "inside" / "deep"
    inside.mkdir(parents=True)
    names = [*EVIL_NAMES, str(folder / "absolute.png"), "0.png"]
    for name in names:
        path = inside / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (640, 480), len(str(path)) % 256).save(path)
    lines = [
        make_line(i, [("狗 \U0001f415", [DOG]), (HOSTILE, [CAT])], cleaned=HOSTILE, image=name)
        for i, name in enumerate(names)
    ]
    return write_results(inside, lines, images=False), names, inside


def export(results, name, *arguments, out=None):
    output = out or results.parent / "out"
    return run_script(
        "export.py", str(results), "--format", name, "-o", str(output), *arguments
    ), output


def export_here(results, name, output, **changes):
    plan = Plan(name, **changes)
    return export_run(Results(results), plan, output)


def boxes_of(lines):
    """(caption, phrase, box) of every instance, as often as it is there."""
    return Counter(
        (line["cleaned_caption"], item["text"], tuple(instance["bbox"]))
        for line in lines
        for item in line["expressions"]
        for instance in item["instances"]
    )


# --- the script


def test_counts_and_card(tmp_path):
    teacher = {"backend": "openai", "model": "test-vlm", "convention": "norm1000_xyxy"}
    results = write_results(tmp_path, some_lines(), ["timeout"], {"teacher": teacher})
    ran, out = export(results, "tao")
    assert ran.code == 0, ran.err
    assert ran.json == {
        "exit_code": 0, "format": "tao", "output": str(out),
        "records": 4, "images": 3, "expressions": 7, "boxes": 6, "left_out": {},
        "read": {"records": 4, "expressions": 7, "boxes": 6}, "warnings": ran.json["warnings"],
        "parts": {"all": {"records": 4, "images": 3, "expressions": 7, "boxes": 6}},
        "files": ["dataset_card.md", "README.md", "annotations.jsonl"],
    }  # fmt: skip
    assert sorted(ran.json["files"]) == sorted(path.name for path in out.iterdir())
    card = (out / "dataset_card.md").read_text()
    for fact in (
        "Model: `test-vlm`",
        "`norm1000_xyxy`",
        "| boxes | 6 | 0 | 6 |\n",
        "--min-score: none, all boxes\n",
        "was not measured",
    ):
        assert fact in card
    assert "4 records, 3 images, 6 boxes" in ran.err
    (warning,) = ran.json["warnings"]
    assert f"warning: {warning}\n" in ran.err and "norm1000_xyxy was not measured" in warning


def test_empty_part_is_a_warning(tmp_path):
    results = write_results(tmp_path, some_lines()[:2])
    ran, out = export(results, "coco", "--split", "0.5/0.5")
    assert ran.code == 0 and "the part val is empty" in ran.err
    assert ran.json["files"] == ["dataset_card.md", "README.md", "train.json", "val.json"]
    assert COCO(str(out / "val.json")).anns == {}


def test_quiet(results):
    ran, _ = export(results, "odvg", "--quiet")
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "yolo"), "'yolo' is not one of"),
        (("--format", "tao", "--split", "0.9/0.2"), "add up to 1"),
        (("--format", "tao", "--min-score", "1.5"), "0<=x<=1"),
        (("--format", "odvg", "--min-score", "1"), "nothing of"),
        (("--format", "odvg", "--image-root", "x" * 5000, "-o", "x" * 300), "File name too long"),
    ],
)
def test_usage_errors(results, arguments, message):
    ran = run_script("export.py", str(results), "-o", str(results.parent / "out"), *arguments)
    assert ran.code == 2
    assert message in ran.err and "Traceback" not in ran.err
    assert not (results.parent / "out").exists()
    assert list(results.parent.glob(".*")) == []


def test_no_results(tmp_path):
    for name in ("none", "x" * 300):
        with pytest.raises(InputError, match="no such results"):
            Results(tmp_path / name)


def test_overwrite_replaces_an_export(results):
    _, out = export(results, "tao")
    (out / "stale").write_text("x")
    ran, _ = export(results, "odvg")
    assert ran.code == 2 and "not empty" in ran.err
    assert (out / "stale").exists()
    ran, _ = export(results, "odvg", "--overwrite")
    assert ran.code == 0 and not (out / "stale").exists()
    assert sorted(path.name for path in results.parent.iterdir() if "." not in path.name) == [
        "out",
        "results",
    ]
    assert list(results.parent.glob(".*")) == []


def test_overwrite_replaces_nothing_else(results, tmp_path):
    thesis = tmp_path / "out" / "thesis.tex"
    thesis.parent.mkdir()
    thesis.write_text("mine")
    for place, message in (
        (thesis.parent, "no export"),
        (thesis, "is a file"),
        (results, "the results themselves"),
        (results.parent, "the results themselves"),
    ):
        with pytest.raises(OutputError, match=message):
            export_here(results, "odvg", place, overwrite=True)
    assert thesis.read_text() == "mine"
    assert (results / "annotations.jsonl").exists()


def test_a_broken_record_leaves_nothing_behind(results):
    with (results / "annotations.jsonl").open("a") as file:
        file.write('{"image_id": 1}\n')
    ran, out = export(results, "coco")
    assert ran.code == 2 and "line 5: not a record" in ran.err
    assert not out.exists() and list(results.parent.glob(".*")) == []


# --- selection


@pytest.mark.parametrize(
    ("box_filter", "kept", "left_out"),
    [
        (BoxFilter(), 6, {}),
        (BoxFilter(drop_ungrounded=True), 6, {
            "expressions_without_box": 2, "records_without_expressions": 1,
        }),
        (BoxFilter(min_score=0.54), 3, {
            "boxes_below_min_score": 2, "boxes_without_score": 1,
            "expressions_left_without_box": 2,
        }),
    ],
)  # fmt: skip
def test_selection(results, tmp_path, box_filter, kept, left_out):
    report = export_here(results, "tao", tmp_path / "out", box_filter=box_filter)
    assert report["boxes"] == kept
    assert report["left_out"] == left_out
    lines = read_jsonl(tmp_path / "out" / "annotations.jsonl")
    left = [box for line in lines for item in line["expressions"] for box in item["instances"]]
    assert len(left) == kept
    if box_filter.min_score:
        assert min(box["bbox_score"] for box in left) >= box_filter.min_score


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_read_is_exported_or_left_out_for_a_reason(tmp_path, name):
    caption = "two dogs and a big dog"
    phrases = [("two dogs", [DOG, CAT], [0.9, 0.1]), ("a big dog", [TREE]), ("dog", [(5, 5, 5, 9)])]
    lines = [*some_lines(), make_line(4, phrases, caption=caption)]
    lines += [make_line(5, [], grounded=False), make_line(6, [("gone", [DOG])])]
    results = write_results(tmp_path, lines)
    (tmp_path / "6.png").unlink()
    split = parse_split("0.5/0.5", 0)
    # Half of all combinations, in which any three of the four choices meet in every way.
    plans = itertools.product((None, 0.54), (False, True), (split, Split()))
    for number, (least, drop, parts) in enumerate(plans):
        copies = (least is None) ^ drop ^ (parts is split)
        out = tmp_path / f"out{number}"
        report = export_here(
            results, name, out, box_filter=BoxFilter(least, drop), split=parts,
            copy_images=copies, setting=Setting(parts.parts),
        )  # fmt: skip
        for kind in ("records", "expressions", "boxes"):
            left = sum(n for why, n in report["left_out"].items() if why.startswith(f"{kind}_"))
            assert report["read"][kind] == report[kind] + left, (kind, report)
            row = f"| {kind} | {report['read'][kind]} | {left} | {report[kind]} |"
            assert row in (out / "dataset_card.md").read_text().splitlines()
        assert report["read"] == {"records": 7, "expressions": 11, "boxes": 11}


def test_two_dogs_do_not_become_one_by_their_scores(tmp_path):
    phrases = [("two dogs", [DOG, CAT], [0.9, 0.1]), ("a tree", [TREE], [0.8]), ("a cat", [])]
    results = write_results(tmp_path, [make_line(0, phrases)])
    report = export_here(results, "refcoco", tmp_path / "out", box_filter=BoxFilter(0.5))
    refs = json.loads((tmp_path / "out" / "refs.json").read_text())
    assert [ref["sentences"][0]["raw"] for ref in refs] == ["a tree"]
    assert report["left_out"] == {
        "expressions_of_several_boxes": 1, "boxes_of_left_out_expressions": 2,
        "expressions_without_box": 1,
    }  # fmt: skip


def test_boxes_outside_the_image_are_left_out(tmp_path):
    lines = [make_line(0, [("a dog", [DOG, (5, 5, 5, 9), (0, 0, 700, 10), (9, 9, 4, 20)])])]
    report = export_here(write_results(tmp_path, lines), "odvg", tmp_path / "out")
    assert (report["boxes"], report["left_out"]) == (1, {"boxes_outside_image": 3})


# --- parts


def test_parts_are_by_image_and_stay(tmp_path):
    lines = [
        make_line(
            i, [("a dog", [DOG])], caption=f"a dog {i}", image=f"./{i % 100}.png"[i // 100 * 2 :]
        )
        for i in range(200)
    ]
    shuffled = random.Random(1).sample(lines, 200)
    seen = []
    for number, (some, seed) in enumerate([(lines, 0), (shuffled, 0), (lines, 1)]):
        (tmp_path / str(number)).mkdir()
        results = write_results(tmp_path / str(number), some, images=False)
        split = parse_split("0.7/0.2/0.1", seed)
        setting = Setting(split.parts)
        out = tmp_path / f"out{number}"
        report = export_here(results, "odvg", out, split=split, setting=setting)
        parts = {
            name: {
                line["filename"].removeprefix("./") for line in read_jsonl(out / f"{name}.jsonl")
            }
            for name in ("train", "val", "test")
        }
        assert sum(map(len, parts.values())) == len(set.union(*parts.values()))
        sizes = {name: len(images) for name, images in parts.items()}
        assert sizes == {name: part["images"] for name, part in report["parts"].items()}
        assert sizes == {"train": 70, "val": 20, "test": 10}
        seen.append({image: name for name, images in parts.items() for image in images})
    assert len(seen[0]) == 100
    assert seen[0] == seen[1] != seen[2]


@pytest.mark.parametrize(
    ("count", "shares", "sizes"),
    [
        (20, "0.9/0.1", [18, 2]),
        (3, "0.9/0.05/0.05", [1, 1, 1]),
        (10, "0.98/0.01/0.01", [8, 1, 1]),
        (7, "0.5/0.5", [4, 3]),
        (2, "0.8/0.1/0.1", [2, 0, 0]),
        (100, "0.7/0.2/0.1", [70, 20, 10]),
        (99, "0.333/0.333/0.334", [33, 33, 33]),
        (0, "0.9/0.1", [0, 0]),
    ],
)
def test_shares_are_exact(tmp_path, count, shares, sizes):
    for seed in range(3):
        split = parse_split(shares, seed)
        parts = split.assign((f"{number}.png", tmp_path / "gone") for number in range(count))
        found = Counter(parts.of(f"{number}.png") for number in range(count))
        assert [found[name] for name in split.parts] == sizes


def test_one_picture_under_two_names_is_in_one_part(tmp_path):
    names = [f"{folder}/{number}.png" for number in range(30) for folder in "ab"]
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture = Image.new("L", (300, 200))
        picture.putpixel((number // 2, 100), 255)
        picture.save(tmp_path / name, compress_level=0)  # large, and alike but for one byte
    lines = [make_line(i, [("a dog", [DOG])], image=name) for i, name in enumerate(names)]
    results = write_results(tmp_path, lines, images=False)
    split = parse_split("0.5/0.5", 0)
    export_here(results, "odvg", tmp_path / "out", split=split, setting=Setting(split.parts))
    train, val = (
        {line["filename"][2:] for line in read_jsonl(tmp_path / "out" / f"{name}.jsonl")}
        for name in split.parts
    )
    assert (len(train), len(val), train & val) == (15, 15, set())


@pytest.mark.parametrize("text", ["1", "0.5/0.6", "0.5/-0.5/1", "a/b", "0.4/0.2/0.2/0.2", "nan/1"])
def test_bad_shares(text):
    with pytest.raises(SpecError, match="add up to 1"):
        parse_split(text, 0)


# --- images


def test_copies_have_safe_names_of_their_own(tmp_path):
    results, names, inside = hostile_results(tmp_path)
    ran, out = export(results, "odvg", "--copy-images", out=tmp_path / "out")
    assert ran.code == 0, ran.err
    rows = read_jsonl(out / "annotations.jsonl")
    copies = [row["filename"] for row in rows]
    assert len(set(copies)) == len(names)
    assert {path.name for path in (out / "images").iterdir()} == {
        Path(copy).name for copy in copies
    }
    for name, copy in zip(names, copies, strict=True):
        assert (out / copy).read_bytes() == (inside / name).read_bytes()
        assert all(char.isascii() and (char.isalnum() or char in "-./") for char in copy)
        assert (out / copy).resolve().parent == (out / "images").resolve()


def test_missing_images_are_counted(results):
    (results.parent / "2.png").write_bytes(b"no picture")
    (results.parent / "3.png").unlink()
    Image.new("L", (10, 10)).save(results.parent / "0.png")
    ran, out = export(results, "tao", "--copy-images")
    assert ran.code == 2 and "nothing of" in ran.err
    Image.new("L", (640, 480)).save(results.parent / "0.png")
    ran, out = export(results, "tao", "--copy-images")
    assert ran.code == ran.json["exit_code"] == 3
    assert ran.json["left_out"] == {
        "records_image_missing": 2,
        "expressions_of_left_out_records": 3,
        "boxes_of_left_out_records": 2,
    }
    assert ran.json["records"] == 2
    assert len(list((out / "images").iterdir())) == 1


def test_copies_are_upright(tmp_path):
    picture = Image.new("RGB", (200, 100), "black")
    picture.paste("white", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned clockwise to be upright
    picture.save(tmp_path / "0.jpg", exif=exif, quality=95)
    lines = [make_line(0, [("a square", [(80, 0, 100, 20)])], size=(100, 200), image="0.jpg")]
    results = write_results(tmp_path, lines, images=False)
    report = export_here(results, "odvg", tmp_path / "out", copy_images=True)
    assert report["warnings"] == []
    (row,) = read_jsonl(tmp_path / "out" / "annotations.jsonl")
    with Image.open(tmp_path / "out" / row["filename"]) as copy:
        assert copy.size == (100, 200) and copy.getexif().get(0x0112, 1) == 1
        assert copy.getpixel((90, 10))[0] > 200 and copy.getpixel((10, 190))[0] < 50


@pytest.mark.parametrize("paths", Paths)
def test_turned_originals_are_a_warning(tmp_path, paths):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    images = ["0.jpg", "0.png", "1.jpg", "1.jpg", "1.png", "gone.jpg"]
    for name in images[:-1]:
        picture = Image.new("RGB", (640, 480))
        picture.save(tmp_path / name, exif=exif if "1" in name else Image.Exif())
    lines = [make_line(i, [("a dog", [DOG])], image=name) for i, name in enumerate(images)]
    results = write_results(tmp_path, lines, images=False)
    report = export_here(results, "odvg", tmp_path / "out", paths=paths)
    (warning,) = report["warnings"]
    assert warning.startswith("2 images are stored turned (EXIF)") and "--copy-images" in warning
    assert f"- {warning}.\n" in (tmp_path / "out" / "dataset_card.md").read_text()


def test_absolute_paths_and_prefix(results, tmp_path):
    export_here(results, "odvg", tmp_path / "a", paths=Paths.ABSOLUTE)
    rows = read_jsonl(tmp_path / "a" / "annotations.jsonl")
    assert rows[0]["filename"] == str(results.parent / "0.png")
    export_here(results, "odvg", tmp_path / "b", setting=Setting(image_prefix="s3://bucket/"))
    rows = read_jsonl(tmp_path / "b" / "annotations.jsonl")
    assert rows[0]["filename"] == "s3://bucket/0.png"
    ran, out = export(results, "odvg", "--copy-images", "--paths", "absolute")
    assert ran.code == 0, ran.err
    names = {row["filename"] for row in read_jsonl(out / "annotations.jsonl")}
    assert names == {str(path) for path in (out / "images").iterdir()} and len(names) == 2


# --- formats


@pytest.fixture(params=["plain", "hostile", "repeated"])
def any_results(request, tmp_path):
    if request.param == "hostile":
        return hostile_results(tmp_path)[0]
    lines = some_lines() * (2 if request.param == "repeated" else 1)
    return write_results(tmp_path, lines)


def lines_of(results):
    return read_jsonl(results / "annotations.jsonl")


def test_odvg(any_results, tmp_path):
    export_here(any_results, "odvg", tmp_path / "out")
    rows = read_jsonl(tmp_path / "out" / "annotations.jsonl")
    assert Counter(
        (row["grounding"]["caption"], region["phrase"], tuple(region["bbox"]))
        for row in rows
        for region in row["grounding"]["regions"]
    ) == boxes_of(
        [
            {**line, "expressions": [item for item in line["expressions"] if item["char_span"]]}
            for line in lines_of(any_results)
        ]
    )
    for row in rows:
        assert (row["width"], row["height"]) == (640, 480)
        assert row["filename"] == row["file_name"]
        assert row["grounding"]["regions"]
        for region in row["grounding"]["regions"]:
            ((start, end),) = region["tokens_positive"]
            assert row["grounding"]["caption"][start:end] == region["phrase"]


def test_odvg_captions_are_stripped_as_mmdetection_strips_them(tmp_path):
    phrases = [("a dog", [DOG]), ("\u3000 two", [CAT])]
    line = make_line(0, phrases, caption="\n \u3000 two, \u0130ki a dog \t")
    export_here(write_results(tmp_path, [line]), "odvg", tmp_path / "out")
    (row,) = read_jsonl(tmp_path / "out" / "annotations.jsonl")
    text = row["grounding"]["caption"]
    assert text == text.strip() == "two, Iki a dog" and len(text) == len(text.lower())
    places = [region["tokens_positive"] for region in row["grounding"]["regions"]]
    assert places == [[[9, 14]], [[0, 3]]]
    assert [region["phrase"] for region in row["grounding"]["regions"]] == ["a dog", "two"]


def test_llava_boxes_are_of_the_padded_square():
    assert write_box((0, 0, 200, 100), (200, 100), STYLES["llava"]) == [0, 0.25, 1, 0.75]


def test_llava_is_asked_for_boxes_of_the_padded_square(results, tmp_path):
    questions = {}
    for style in STYLES:
        export_here(results, "vlm-sft", tmp_path / style, setting=Setting(convention=style))
        (row, *_) = read_jsonl(tmp_path / style / "annotations.jsonl")
        questions[style] = row["conversations"][0]["value"]
    assert "the image padded to a square" in questions.pop("llava")
    assert all("square" not in question for question in questions.values())


def test_absolute_and_relative_paths_are_one_image(tmp_path):
    names = [f"{index}.png" for index in range(30)]
    lines = [make_line(i, [("a dog", [DOG])], image=name) for i, name in enumerate(names)]
    lines += [
        make_line(i, [("a dog", [DOG])], image=str(tmp_path / n)) for i, n in enumerate(names)
    ]
    results = write_results(tmp_path, lines, images=False)
    split = parse_split("0.5/0.5", 0)
    export_here(results, "odvg", tmp_path / "o", split=split, setting=Setting(split.parts))
    train, val = (
        {row["filename"].rpartition("/")[2] for row in read_jsonl(tmp_path / "o" / f"{part}.jsonl")}
        for part in ("train", "val")
    )
    assert len(train | val) == 30
    assert not train & val


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # pycocotools on numpy 2
@pytest.mark.parametrize("categories", ["phrase", "noun"])
def test_coco(any_results, tmp_path, categories):
    export_here(any_results, "coco", tmp_path / "out", setting=Setting(categories=categories))
    coco = COCO(str(tmp_path / "out" / "annotations.json"))
    lines = lines_of(any_results)
    with_boxes = [line for line in lines if any(item["instances"] for item in line["expressions"])]
    assert [
        (image["file_name"], image["caption"], image["original_caption"], image["original_img_id"])
        for image in coco.loadImgs(coco.getImgIds())
    ] == [
        (line["image_path"], line["cleaned_caption"], line["caption"], line["image_id"])
        for line in with_boxes
    ]
    found = Counter()
    for box in coco.loadAnns(coco.getAnnIds()):
        x, y, w, h = box["bbox"]
        assert box["area"] == w * h and box["iscrowd"] == 0
        mask = coco.annToMask(box)
        assert mask.sum() == w * h == mask[y : y + h, x : x + w].sum()
        (image,) = coco.loadImgs(box["image_id"])
        assert box["caption"] == image["caption"]
        for start, end in box["tokens_positive"]:
            assert image["caption"][start:end] == box["phrase"]
        found[image["file_name"], box["phrase"], (x, y, x + w, y + h)] += 1
        (category,) = coco.loadCats(box["category_id"])
        noun = " ".join(box["phrase"].lower().split())
        assert category["name"] == ("object" if categories == "phrase" else noun)
    expected = Counter()
    for line in lines:
        for (_, phrase, box), count in boxes_of([line]).items():
            expected[line["image_path"], phrase, box] += count
    assert found == expected
    assert len(coco.anns) == sum(expected.values())


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("name", ["coco", "refcoco"])
def test_category_ids_start_where_the_reader_wants(results, tmp_path, name, first):
    ran, out = export(results, name, "--categories", "noun", "--category-ids", str(first))
    assert ran.code == 0, ran.err
    content = json.loads(
        (out / ("annotations.json" if name == "coco" else "instances.json")).read_text()
    )
    ids = [category["id"] for category in content["categories"]]
    assert ids == list(range(first, first + len(ids))) and len(ids) > 2
    assert f"- --category-ids: {first}\n" in (out / "dataset_card.md").read_text()
    names = [category["name"] for category in content["categories"]]
    for box in content["annotations"]:
        assert names[box["category_id"] - first] == box["phrase"]


def test_coco_as_readers_of_captions_and_phrases_read_it(results, tmp_path):
    export_here(results, "coco", tmp_path / "out")
    coco = COCO(str(tmp_path / "out" / "annotations.json"))
    # GroundingDataset of Ultralytics: the phrases are cut out of the caption of the image.
    phrases = {
        number: {
            " ".join(
                coco.imgs[number]["caption"][start:end] for start, end in box["tokens_positive"]
            )
            for box in coco.imgToAnns[number]
        }
        for number, image in coco.imgs.items()
    }
    assert phrases == {1: {"a dog", "cats"}, 2: {"a dog"}, 3: {"a tree", ""}}
    assert [image["file_name"] for image in coco.imgs.values()] == ["0.png", "0.png", "2.png"]
    # CocoCaptions of torchvision: the captions of the annotations of an image.
    captions = [{box["caption"] for box in coco.imgToAnns[number]} for number in coco.imgs]
    assert captions == [{"\U0001f415 a dog, cats."}, {"a dog; a bird"}, {"I see a tree"}]


def test_coco_parts_share_categories_and_ids(results, tmp_path):
    split = parse_split("0.5/0.5", 2)
    setting = Setting(split.parts, categories="noun")
    export_here(results, "coco", tmp_path / "out", split=split, setting=setting)
    train, val = (COCO(str(tmp_path / "out" / f"{name}.json")) for name in split.parts)
    assert train.cats == val.cats and train.anns and val.anns
    assert not set(train.anns) & set(val.anns) and not set(train.imgs) & set(val.imgs)
    assert len(train.anns) + len(val.anns) == 6


def test_tao(any_results, tmp_path):
    export_here(any_results, "tao", tmp_path / "out", paths=Paths.RECORDS)
    rows = read_jsonl(tmp_path / "out" / "annotations.jsonl")
    for row in rows:
        for item in row["expressions"]:
            for instance in item["instances"]:
                instance["score"] = instance.pop("bbox_score")
    assert rows == lines_of(any_results)
    assert len(list(Results(tmp_path / "out" / "annotations.jsonl").records())) == len(rows)


@pytest.mark.parametrize("arguments", [(), ("--copy-images",)])
def test_tao_finds_the_images_of_its_step_1(results, tmp_path, arguments):
    """It opens image_path as it stands; without a file there it asks without a picture."""
    ran, out = export(results, "tao", *arguments)
    assert ran.code == 0, ran.err
    for row in read_jsonl(out / "annotations.jsonl"):
        path = Path(row["image_path"])
        assert path.is_absolute() and path.is_file()
        assert path.is_relative_to(out) == bool(arguments)


def test_tao_mixes_up_records_of_one_image_id(tmp_path):
    lines = [make_line(i // 2, [("a dog", [])], image="0.png", grounded=False) for i in range(4)]
    report = export_here(write_results(tmp_path, lines), "tao", tmp_path / "out")
    (warning,) = report["warnings"]
    assert warning.startswith("2 records have the image_id of another record: step 1 of TAO")
    lines = [make_line(i, [("a dog", [])], image="0.png", grounded=False) for i in range(4)]
    (tmp_path / "b").mkdir()
    report = export_here(write_results(tmp_path / "b", lines), "tao", tmp_path / "out2")
    assert report["warnings"] == []


def test_label_studio(any_results, tmp_path):
    export_here(any_results, "label-studio", tmp_path / "out", setting=Setting(model="m"))
    tasks = json.loads((tmp_path / "out" / "annotations.json").read_text())
    config = ElementTree.parse(tmp_path / "out" / "labeling_config.xml").getroot()
    (labels,) = config.findall("RectangleLabels")
    (image,) = config.findall("Image")
    assert (image.get("value"), labels.get("value"), len(labels)) == ("$image", "$labels", 0)
    found = Counter()
    lines = lines_of(any_results)
    for task, line in zip(tasks, lines, strict=True):
        known = [label["value"] for label in task["data"]["labels"]]
        assert known == list(dict.fromkeys(item["text"] for item in line["expressions"]))
        # As Label Studio's own view reads it: request.GET["d"].
        url = urlsplit(task["data"]["image"])
        assert (url.path, url.fragment) == ("/data/local-files/", "")
        assert parse_qs(url.query, strict_parsing=True) == {"d": [line["image_path"]]}
        (prediction,) = task["predictions"]
        assert prediction["model_version"] == "m"
        assert len({result["id"] for result in prediction["result"]}) == len(prediction["result"])
        for result in prediction["result"]:
            assert (result["from_name"], result["to_name"]) == (
                labels.get("name"),
                image.get("name"),
            )
            assert labels.get("toName") == image.get("name")
            assert result["type"] == "rectanglelabels" and result["image_rotation"] == 0
            value, w, h = result["value"], result["original_width"], result["original_height"]
            (label,) = value["rectanglelabels"]
            assert label in known
            corners = (
                value["x"] * w / 100, value["y"] * h / 100,
                (value["x"] + value["width"]) * w / 100,
                (value["y"] + value["height"]) * h / 100,
            )  # fmt: skip
            found[task["data"]["caption"], label, tuple(map(round, corners))] += 1
    assert found == boxes_of(lines)


@pytest.mark.parametrize(
    ("prefix", "url"),
    [
        ("s3://bucket/", "s3://bucket/50% of #1 & a+b?.png"),
        ("HTTP://[host/", "HTTP://[host/50%25%20of%20%231%20%26%20a%2Bb%3F.png"),
        ("https://host/", "https://host/50%25%20of%20%231%20%26%20a%2Bb%3F.png"),
    ],
)
def test_label_studio_of_other_storages(tmp_path, prefix, url):
    line = make_line(0, [("a dog", [DOG])], image="50% of #1 & a+b?.png")
    results = write_results(tmp_path, [line])
    setting = Setting(image_prefix=prefix)
    export_here(results, "label-studio", tmp_path / "out", setting=setting)
    (task,) = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert task["data"]["image"] == url


@pytest.mark.parametrize("style", STYLES)
def test_vlm_sft(any_results, tmp_path, style):
    export_here(any_results, "vlm-sft", tmp_path / "out", setting=Setting(convention=style))
    rows = read_jsonl(tmp_path / "out" / "annotations.jsonl")
    lines = lines_of(any_results)
    keys = {"qwen3": "bbox_2d", "qwen2.5": "bbox_2d", "gemini": "box_2d", "llava": "bbox"}
    for row, line in zip(rows, lines, strict=True):
        assert row["image"] == line["image_path"]
        human, gpt = row["conversations"]
        assert (human["from"], gpt["from"]) == ("human", "gpt")
        assert human["value"].count("<image>") == 1 and human["value"].startswith("<image>\n")
        assert "</s>" not in human["value"] + gpt["value"]
        assert CONVENTIONS[STYLES[style].convention].order in human["value"]
        boxes = [(i["text"], o["bbox"]) for i in line["expressions"] for o in i["instances"]]
        answer = json.loads(gpt["value"])
        assert len(answer) == len(boxes)
        frame = Frame((640, 480), (640, 480))
        for item, (text, box) in zip(answer, boxes, strict=True):
            assert item["label"] == text.replace("<image>", "< image>").replace(
                "</s>", "< /s>"
            ).replace("<img", "< img")
            if STYLES[style].square:
                box, side = in_square(tuple(box), (640, 480))
                frame = Frame(side, side)
            back = to_original(tuple(item[keys[style]]), STYLES[style].convention, frame, Counter())
            assert max(abs(a - b) for a, b in zip(back, box, strict=True)) <= 2


@given(
    st.integers(30, 9000), st.integers(30, 9000),
    st.tuples(*[st.floats(0, 1)] * 4), st.sampled_from(list(STYLES)),
)  # fmt: skip
def test_written_boxes_have_an_area_and_read_back(width, height, places, style):
    x1, x2 = sorted(round(place * (width - 1)) for place in places[:2])
    y1, y2 = sorted(round(place * (height - 1)) for place in places[2:])
    box, size = (x1, y1, x2 + 1, y2 + 1), (width, height)
    numbers = write_box(box, size, STYLES[style])
    if STYLES[style].square:
        box, size = in_square(box, size)
    convention = STYLES[style].convention
    # Four numbers of at most 1 are read as fractions, whatever they were meant as.
    assume(convention == "norm1_xyxy" or max(numbers) > 1.02)
    back = to_original(tuple(numbers), convention, Frame(size, size), Counter())
    assert back is not None
    unit = 1 + max(size) / 500
    assert max(abs(a - b) for a, b in zip(back, box, strict=True)) <= 1 + unit * 1.5
    if min(box[2] - box[0], box[3] - box[1]) > 40 * unit:
        assert box_iou(back, box) > 0.85


def test_not_looked_for_is_no_answer(tmp_path):
    lines = [make_line(0, [("a dog", []), ("a cat", [CAT])], grounded=False)]
    report = export_here(write_results(tmp_path, lines), "vlm-sft", tmp_path / "out")
    assert report["left_out"] == {"expressions_not_looked_for": 1}
    assert "a dog" not in read_jsonl(tmp_path / "out" / "annotations.jsonl")[0]["conversations"]


def test_refcoco(any_results, tmp_path):
    report = export_here(any_results, "refcoco", tmp_path / "out")
    refs = json.loads((tmp_path / "out" / "refs.json").read_text())
    with (tmp_path / "out" / "refs(unc).p").open("rb") as file:
        assert pickle.load(file) == refs
    coco = COCO(str(tmp_path / "out" / "instances.json"))
    assert len(refs) == len(coco.anns) == report["expressions"] == report["boxes"]
    found, expected, others = Counter(), Counter(), Counter()
    for ref in refs:
        (box,) = coco.loadAnns([ref["ann_id"]])
        (image,) = coco.loadImgs([ref["image_id"]])
        (sentence,) = ref["sentences"]
        assert box["image_id"] == image["id"] and image["file_name"] == ref["file_name"]
        assert box["category_id"] == ref["category_id"] and ref["category_id"] in coco.cats
        assert ref["split"] == "train" and ref["sent_ids"] == [sentence["sent_id"]]
        assert sentence["tokens"] and " ".join(sentence["tokens"]) == sentence["sent"]
        x, y, w, h = box["bbox"]
        found[ref["file_name"], sentence["raw"], (x, y, x + w, y + h)] += 1
    for line in lines_of(any_results):
        for item in line["expressions"]:
            if len(item["instances"]) == 1:
                box = tuple(item["instances"][0]["bbox"])
                expected[line["image_path"], item["text"], box] += 1
            else:
                several = "of_several_boxes" if item["instances"] else "without_box"
                others[f"expressions_{several}"] += 1
    assert found == expected
    left_out = {k: n for k, n in report["left_out"].items() if k.startswith("expressions")}
    assert left_out == others
    for name in ("ref_id", "ann_id"):
        assert len({ref[name] for ref in refs}) == len(refs)


def test_refcoco_names_the_split(results, tmp_path):
    split = parse_split("0.5/0.5", 2)
    setting = Setting(split.parts)
    report = export_here(results, "refcoco", tmp_path / "out", split=split, setting=setting)
    refs = json.loads((tmp_path / "out" / "refs.json").read_text())
    counts = Counter(ref["split"] for ref in refs)
    assert counts == {part: report["parts"][part]["boxes"] for part in ("train", "val")}
    assert min(counts.values()) > 0


def read_sentence(line):
    """(phrase, entity) of a marked sentence, token by token, as the dataset's own reader does."""
    phrases, words, entity = [], None, None
    for token in line.split(" "):
        if words is not None:
            words.append(token.removesuffix("]"))
            if token.endswith("]"):
                phrases.append((" ".join(words), entity))
                words = None
        elif token.startswith("["):
            _, entity, kind = token.split("/")
            assert kind == "other" and entity.startswith("EN#")
            entity, words = entity[3:], []
    assert words is None
    return phrases


def read_boxes(path):
    root = ElementTree.parse(path).getroot()
    boxes, nowhere = {}, set()
    for item in root.findall("object"):
        (name,) = item.findall("name")
        if (box := item.find("bndbox")) is not None:
            corners = [int(box.find(tag).text) for tag in ("xmin", "ymin", "xmax", "ymax")]
            boxes.setdefault(name.text, []).append(corners)
        else:
            assert (item.find("nobndbox").text, item.find("scene").text) == ("1", "0")
            nowhere.add(name.text)
    size = tuple(int(root.find("size").find(tag).text) for tag in ("width", "height"))
    return root.find("filename").text, size, boxes, nowhere


def test_flickr30k(any_results, tmp_path):
    report = export_here(any_results, "flickr30k", tmp_path / "out")
    out = tmp_path / "out"
    ids = (out / "annotations.txt").read_text().splitlines()
    assert len(set(ids)) == len(ids) == report["images"]
    for folder, ending in (("Sentences", ".txt"), ("Annotations", ".xml")):
        assert {path.name for path in (out / folder).iterdir()} == {name + ending for name in ids}
    found, expected, entities = Counter(), Counter(), []
    unseen = expected_unseen = 0
    for image_id in ids:
        name, size, boxes, nowhere = read_boxes(out / "Annotations" / f"{image_id}.xml")
        assert size == (640, 480)
        text = (out / "Sentences" / f"{image_id}.txt").read_text(encoding="utf-8")
        for line in text.removesuffix("\n").split("\n"):
            for phrase, entity in read_sentence(line):
                entities.append(entity)
                unseen += entity in nowhere
                for x1, y1, x2, y2 in boxes.get(entity, []):
                    found[name, phrase, (x1 - 1, y1 - 1, x2, y2)] += 1
    assert len(set(entities)) == len(entities) == report["expressions"]
    lines = lines_of(any_results)
    left_out = Counter()
    for line in lines:
        whole = any(item["char_span"] == [0, len(HOSTILE)] for item in line["expressions"])
        for item in line["expressions"]:
            if item["char_span"] is None:
                left_out["expressions_without_span"] += 1
                continue
            if whole and item["text"] != HOSTILE:
                left_out["expressions_overlapping"] += 1
                continue
            text = " ".join(item["text"].replace("[", "(").replace("]", ")").split())
            expected_unseen += not item["instances"]
            for box in item["instances"]:
                expected[line["image_path"], text, tuple(box["bbox"])] += 1
    assert found == expected
    assert unseen == expected_unseen
    assert {k: v for k, v in report["left_out"].items() if k.startswith("expr")} == left_out


def test_flickr30k_sentences(tmp_path):
    caption = "Two dogs[1],a cat\u2028and\ta big  brown bear."
    phrases = [
        ("a cat", [CAT]),
        ("Two dogs", [DOG, TREE]),
        ("bear", [DOG]),
        ("a big  brown bear", []),
    ]
    results = write_results(tmp_path, [make_line(0, phrases, caption=caption)])
    report = export_here(results, "flickr30k", tmp_path / "out")
    (path,) = (tmp_path / "out" / "Sentences").iterdir()
    assert path.read_text() == (
        "[/EN#1/other Two dogs] (1), [/EN#2/other a cat] and [/EN#3/other a big brown bear] .\n"
    )
    left_out = {"expressions_overlapping": 1, "boxes_of_left_out_expressions": 1}
    assert report["left_out"] == left_out


@pytest.fixture(scope="module")
def load_dataset():
    """Of Hugging Face; only the process that needs it imports it."""
    import datasets

    return datasets.load_dataset


def test_parquet(any_results, tmp_path):
    import pandas

    export_here(any_results, "parquet", tmp_path / "out")
    file = tmp_path / "out" / "annotations.parquet"
    lines = lines_of(any_results)
    frame = pandas.read_parquet(file)
    assert list(frame["caption"]) == [line["caption"] for line in lines]
    rows = pyarrow.parquet.read_table(file).to_pylist()
    for row, line in zip(rows, lines, strict=True):
        for item in line["expressions"]:
            for instance in item["instances"]:
                del instance["bbox_id"]
        assert row["expressions"] == line["expressions"]
        assert (row["image"], row["width"], row["height"]) == (line["image_path"], 640, 480)
        assert row["grounded"] is True


def test_datasets_reads_parquet_and_json_lines(tmp_path, load_dataset):
    lines = [make_line(i, [("a dog", [DOG] * (i % 3))], image="one.png") for i in range(5_010)]
    for name, ending, count in (
        ("parquet", "parquet", 5_010), ("odvg", "jsonl", 30), ("vlm-sft", "jsonl", 30),
    ):  # fmt: skip
        results = write_results(tmp_path / f"{name} run", lines[:count], images=False)
        export_here(results, name, tmp_path / name)
        kind = "json" if ending == "jsonl" else ending
        data = load_dataset(
            kind,
            data_files=str(tmp_path / name / f"annotations.{ending}"),
            cache_dir=str(tmp_path / "cache"),
            split="train",
        )
        assert len(data) == (count if name != "odvg" else 20)
        if name == "parquet":
            assert data[5_009]["expressions"][0]["instances"][0]["bbox"] == list(DOG)
            assert data[3]["expressions"][0]["instances"] == []
    assert (
        pyarrow.parquet.ParquetFile(tmp_path / "parquet" / "annotations.parquet").num_row_groups
        == 2
    )


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "flickr30k"])
@pytest.mark.parametrize("share", [None, "0.5/0.5"])
def test_datasets_reads_the_folder_of_an_export(tmp_path, load_dataset, name, share):
    """Its own guess, by the endings of most files, is a data set of the copied pictures alone."""
    lines = [make_line(i, [("a dog", [DOG, CAT][: i + 1])]) for i in range(4)]
    results = write_results(tmp_path, lines)
    split = parse_split(share, 0)
    report = export_here(
        results, name, tmp_path / "out", copy_images=True, split=split,
        setting=Setting(split.parts),
    )  # fmt: skip
    data = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    kind = {"coco": "boxes", "refcoco": "expressions"}.get(name, "records")
    parts = {"all": "train", "val": "validation"}
    expected = {parts.get(part, part): found[kind] for part, found in report["parts"].items()}
    if name == "refcoco":
        expected = {"refs": report[kind]}
    assert {part: len(rows) for part, rows in data.items()} == expected


def test_datasets_reads_what_is_there_of_parts(tmp_path, load_dataset):
    results = write_results(tmp_path, some_lines()[:1])
    split = parse_split("0.5/0.5", 0)
    setting = Setting(split.parts)
    export_here(results, "odvg", tmp_path / "out", split=split, setting=setting, copy_images=True)
    data = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {part: len(rows) for part, rows in data.items()} == {"train": 1}


def test_parquet_without_pyarrow_says_what_to_install(results, tmp_path):
    (tmp_path / "lacking").mkdir()
    (tmp_path / "lacking" / "pyarrow.py").write_text("raise ImportError('not installed')\n")
    ran = run_script(
        "export.py", str(results), "--format", "parquet", "-o", str(tmp_path / "out"),
        PYTHONPATH=os.pathsep.join([str(tmp_path / "lacking"), os.environ.get("PYTHONPATH", "")]),
    )  # fmt: skip
    assert ran.code == 2 and "setup_env.py --extras parquet" in ran.err
    assert not (tmp_path / "out").exists()


def test_unpaired_surrogates_spoil_no_format(tmp_path):
    lines = [
        make_line(0, [("a \ud800 dog", [DOG])], caption="\udfff a \ud800 dog", image="\ud800.png")
    ]
    results = write_results(tmp_path, lines, images=False)
    for name in FORMATS:
        report = export_here(results, name, tmp_path / name)
        assert report["boxes"] == 1, name


# --- the card


def test_hostile_text_means_nothing_in_the_card(tmp_path):
    evil = "x`\n# Heading\n<script>alert(1)</script> [a](javascript:b) \ud800"
    summary = {"teacher": {"model": evil, "convention": evil}}
    results = write_results(tmp_path, some_lines(), summary=summary)
    export_here(results, "odvg", tmp_path / "out")
    card = (tmp_path / "out" / "dataset_card.md").read_text()
    (line,) = (line for line in card.splitlines() if line.startswith("- Model"))
    assert line.startswith("- Model: `x' # Heading <script>") and line.endswith("\ufffd`")
    assert line.count("`") == 2
    assert "\n# Heading" not in card


def test_an_unfinished_run_is_a_warning(tmp_path):
    counts = {"lines": 30, "annotated": 4, "failed": 0, "not_attempted": 26}
    results = write_results(tmp_path, some_lines(), summary={"counts": counts})
    ran, out = export(results, "odvg")
    assert ran.code == 0 and ran.json["warnings"] == ["incomplete: 26 of 30 not attempted"]
    assert "warning: incomplete: 26 of 30 not attempted\n" in ran.err
    assert "- Incomplete: 26 of 30 not attempted.\n" in (out / "dataset_card.md").read_text()


@pytest.mark.parametrize(
    ("least", "scores", "warned"),
    [
        (0.5, [0.9, 0.9, 0.9], True),
        (0.5, [0.9, None, 0.9], True),
        (0.5, [0.9, 0.8, 0.9], False),
        (0.5, [0.9], False),
        (None, [0.9, 0.9, 0.9], False),
    ],
)
def test_equal_scores_tell_nothing(tmp_path, least, scores, warned):
    lines = [make_line(i, [("a dog", [DOG], [score])]) for i, score in enumerate(scores)]
    results = write_results(tmp_path, lines)
    report = export_here(results, "odvg", tmp_path / "out", box_filter=BoxFilter(least))
    scored = len([score for score in scores if score])
    expected = f"all {scored} scores are 0.9: --min-score 0.5 cannot tell good boxes from bad"
    assert [text.startswith(expected) for text in report["warnings"]] == [True] * warned


@pytest.mark.parametrize("name", FORMATS)
def test_records_with_a_status_of_expressions_are_exported_alike(tmp_path, name):
    reports = []
    for status in (False, True):
        lines = some_lines()
        for item in (item for line in lines for item in line["expressions"]):
            item |= {"status": "grounded" if item["instances"] else "absent"} if status else {}
        (tmp_path / f"{status}").mkdir()
        results = write_results(tmp_path / f"{status}", lines)
        reports.append(export_here(results, name, tmp_path / f"out{status}"))
    assert reports[0] == reports[1]
    if name == "tao":
        rows = read_jsonl(tmp_path / "outTrue" / "annotations.jsonl")
        assert [item["status"] for item in rows[1]["expressions"]] == ["grounded", "absent"]


def test_every_format_has_a_reader_and_a_summary():
    for name, exporter in FORMATS.items():
        assert exporter.name == name and exporter.summary and exporter.reader
