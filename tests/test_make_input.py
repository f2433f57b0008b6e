# SPDX-License-Identifier: Apache-2.0
"""From a folder, a table or COCO captions to an input that a run takes."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conftest import read_jsonl
from image_grounding.cli.make_input import make_input_command
from image_grounding.run.dry_run import DryRun
from image_grounding.run.progress import Quiet
from image_grounding.spec import load_spec
from support.scenes import make_scene
from support.scripts import Ran, run_script


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for name in ("a.png", "b.JPG", "more/c d.png", "alone.png"):
        make_scene((32, 24)).save(folder / name)
    return folder


def make(*arguments: Any) -> Ran:
    done = CliRunner().invoke(make_input_command, [str(argument) for argument in arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Ran(done.exit_code, done.stdout, done.stderr)


def pairs_of(path: Path) -> list[tuple[str, str]]:
    return [(row["image_path"], row["caption"]) for row in read_jsonl(path)]


def test_a_folder_of_texts(photos: Path, tmp_path: Path) -> None:
    (photos / "a.txt").write_text("A dog\n on a sofa.\n", encoding="utf-8-sig")
    (photos / "b.JPG.txt").write_text("A cat.\n\nA kitten.")
    (photos / "more" / "c d.txt").write_text("Two birds")
    (photos / "._a.png").write_bytes(b"of a Mac")
    (photos / "no image.txt").write_text("A ghost")
    out = tmp_path / "in.jsonl"
    ran = run_script("make_input.py", str(photos), "-o", str(out), cwd=tmp_path)
    assert ran.code == ran.json["exit_code"] == 3, ran.err
    three = [("a.png", "A dog on a sofa."), ("b.JPG", "A cat. A kitten.")]
    three += [("more/c d.png", "Two birds")]
    assert pairs_of(out) == three
    assert (ran.json["lines"], ran.json["images"], ran.json["image_root"]) == (3, 3, str(photos))
    assert ran.json["left_out"] == {
        "image_without_caption": {"total": 1, "first": ["alone.png"]},
        "caption_without_image": {"total": 1, "first": ["no image.txt"]},
    }
    assert "left out: 1 x image without caption, such as alone.png" in ran.err
    assert f"images were looked for below {photos}; --image-root names another" in ran.err
    # A run takes it.
    data = [f"data.input_jsonl={out}", f"data.image_root={photos}", f"results_dir={tmp_path / 'r'}"]
    dry_run = DryRun(load_spec(None, ["vlm.backend=local", *data]), Quiet())
    dry_run.look()
    assert (dry_run.exit_code, dry_run.plain()["samples"]) == (0, 3)

    kept = make(photos, "-o", out)
    assert (kept.code, "--overwrite replaces it" in kept.json["error"]) == (2, True)
    (photos / "alone.png").unlink()
    (photos / "no image.txt").unlink()
    ran = make(photos, "-o", out, "--by-line", "--overwrite", "--quiet")
    assert (ran.code, ran.err, ran.json["lines"], ran.json["images"]) == (0, "", 5, 3)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", 'id,Image,text\n1,a.png,"A dog, a cat"\n2,b.JPG,A bird\n'),
        ("t.tsv", "file_name\tcaption\tid\na.png\tA dog, a cat\t1\nb.JPG\tA bird\t2\n"),
        ("t.txt", "image_name| id| comment\na.png| 1| A dog, a cat\nb.JPG| 2| A bird\n"),
        ("t.csv", "\ufefffile;caption;id\r\na.png;A dog, a cat;1\r\nb.JPG;A bird;2\r\n"),
    ],
)
def test_tables(name: str, text: str, photos: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    ran = make(tmp_path / name, "--image-root", photos, "-o", tmp_path / "in.jsonl")
    assert ran.code == 0, ran.err
    assert read_jsonl(tmp_path / "in.jsonl") == [
        {"image_path": "a.png", "caption": "A dog, a cat", "id": "1"},
        {"image_path": "b.JPG", "caption": "A bird", "id": "2"},
    ]


def test_columns_by_name_and_what_has_no_partner(photos: Path) -> None:
    rows = "pic,words,width,height\na.png,A dog,32,\nb.JPG, ,32,24\ngone.png,A cat,,\n,A,1,1\n"
    (photos / "t.csv").write_text(rows)
    columns = ("--image-column", "pic", "--caption-column", "WORDS")
    ran = make(photos / "t.csv", *columns, "-o", photos / "in.jsonl")
    assert ran.code == 3, ran.err
    assert read_jsonl(photos / "in.jsonl") == [
        {"image_path": "a.png", "caption": "A dog", "width": 32}
    ]
    assert {name: left["first"] for name, left in ran.json["left_out"].items()} == {
        "image_without_caption": ["b.JPG"],
        "caption_without_image": ["line 4: gone.png", "line 5"],
    }


def test_coco_captions(photos: Path, tmp_path: Path) -> None:
    images = [
        {"id": 7, "file_name": "a.png", "width": 32, "height": 24},
        {"id": 8, "file_name": "b.JPG"},
    ]
    captions = [(7, "A dog"), (7, "A brown dog"), (9, "A ghost")]
    content = {
        "images": images,
        "annotations": [
            {"id": i, "image_id": k, "caption": c} for i, (k, c) in enumerate(captions)
        ],
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    ran = make(tmp_path / "coco.json", "--image-root", photos, "-o", tmp_path / "in.jsonl")
    assert ran.code == 3, ran.err
    size = {"width": 32, "height": 24}
    assert read_jsonl(tmp_path / "in.jsonl") == [
        {"image_path": "a.png", "caption": text, **size} for text in ("A dog", "A brown dog")
    ]
    assert {name: left["first"] for name, left in ran.json["left_out"].items()} == {
        "caption_without_image": ["image_id 9"],
        "image_without_caption": ["b.JPG"],
    }


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone.csv", None, "cannot read"),
        ("t.csv", b"a,b\n1,2\n", "--image-column must name a column; there are a, b"),
        ("t.csv", b"image,b\n1,2\n", "--caption-column must name a column"),
        ("t.csv", b"", "there are nothing"),
        ("t.csv", b"image,text\ngone.png,A dog\n", "holds no pair of image and caption: 1 x cap"),
        ("t.csv", b"image,text\n\xff,A dog\n", "is not UTF-8 text"),
        ("t.json", b"[1]", "is no COCO captions file"),
        ("t.json", b"{", "is no COCO captions file"),
        (
            "t.json",
            b'{"images": [], "annotations": [{"image_id": [], "caption": "a"}]}',
            "is no COCO captions file",
        ),
        ("t.xlsx", b"PK", "is no folder and no .csv, .tsv, .txt or .json file"),
        ("empty", b"folder", "nothing was found below"),
    ],
)
def test_what_cannot_be_read(name: str, content: bytes | None, words: str, tmp_path: Path) -> None:
    source = tmp_path / name
    if content == b"folder":
        source.mkdir()
    elif content is not None:
        source.write_bytes(content)
    ran = make(source, "-o", tmp_path / "in.jsonl")
    assert ran.code == ran.json["exit_code"] == 2
    assert words in ran.json["error"]
    assert not (tmp_path / "in.jsonl").exists()
