# SPDX-License-Identifier: Apache-2.0
"""Ground truth in its public formats: what is read, what is left out, what is refused."""

import gzip
import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from conftest import write_jsonl
from image_grounding.errors import InputError
from image_grounding.evaluation.model import Annotation, Phrase
from image_grounding.evaluation.truth import NEEDS, READERS, read_truth
from image_grounding.results.reading import Results
from image_grounding.steps.annotations import Instance
from support.scripts import ROOT
from support.truth import CAPTION, expression, record


def write_json(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def only(path: Path, name: str = "auto") -> Annotation:
    (annotation,) = read_truth(path, name).annotations
    return annotation


# COCO


def coco(annotations: list[dict[str, Any]], **image: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 9, "file_name": "a/9.jpg", "width": 200, "height": 100, **image}],
        "annotations": [{"id": n, "image_id": 9, **fields} for n, fields in enumerate(annotations)],
        "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "dog"}],
    }


def test_coco_categories_are_phrases_with_all_their_boxes(tmp_path: Path) -> None:
    boxes = [
        {"category_id": 1, "bbox": [1, 2, 10, 20]},
        {"category_id": 2, "bbox": [5, 5, 5, 5]},
        {"category_id": 1, "bbox": [20.5, 2, 10, 20]},
        {"category_id": 2, "bbox": [0, 0, 90, 90], "iscrowd": 1},
    ]
    path = write_json(tmp_path / "instances.json", coco(boxes))
    truth = read_truth(path)
    assert truth.format == "coco"
    assert truth.annotations == (
        Annotation(
            "a/9.jpg",
            ("9",),
            (200, 100),
            (),
            (
                Phrase("car", None, ((1, 2, 11, 22), (20.5, 2, 30.5, 22))),
                Phrase("dog", None, ((5, 5, 10, 10),)),
            ),
            categories=True,
        ),
    )
    assert truth.left_out == {"crowd_regions": 1}


def test_coco_tokens_positive_are_places_in_the_caption(tmp_path: Path) -> None:
    boxes = [
        {"bbox": [0, 0, 5, 5], "tokens_positive": [[11, 19]]},
        {"bbox": [9, 9, 5, 5], "tokens_positive": [[11, 14], [15, 19]]},
        {"bbox": [1, 1, 5, 5], "tokens_positive": [[0, 9]]},
    ]
    content = coco(boxes, caption=CAPTION, original_img_id=77, sentence_id=0)
    annotation = only(write_json(tmp_path / "mdetr.json", content))
    assert annotation.captions == (CAPTION,)
    assert annotation.image_ids == ("77",)
    assert annotation.phrases == (
        Phrase("two dogs", (11, 19), ((0, 0, 5, 5), (9, 9, 14, 14))),
        Phrase("A red car", (0, 9), ((1, 1, 6, 6),)),
    )


def test_coco_phrases_belong_to_their_captions(tmp_path: Path) -> None:
    boxes = [
        {"bbox": [0, 0, 5, 5], "phrase": "a dog", "caption": "a dog and a dog", "expression_id": 1},
        {"bbox": [7, 0, 5, 5], "phrase": "a dog", "caption": "a dog and a dog", "expression_id": 2},
        {"bbox": [0, 0, 5, 5], "phrase": "a pet", "caption": "a pet", "expression_id": 3},
    ]
    truth = read_truth(write_json(tmp_path / "phrases.json", coco(boxes)))
    assert [(entry.captions, [p.text for p in entry.phrases]) for entry in truth.annotations] == [
        (("a dog and a dog",), ["a dog", "a dog"]),
        (("a pet",), ["a pet"]),
    ]


def test_coco_images_without_annotations_are_not_truth(tmp_path: Path) -> None:
    content = coco([{"category_id": 1, "bbox": [1, 2, 10, 20]}])
    content["images"].append({"id": 10, "file_name": "10.jpg"})
    content["annotations"].append({"id": 99, "image_id": 11, "bbox": [0, 0, 1, 1]})
    truth = read_truth(write_json(tmp_path / "instances.json", content))
    assert len(truth.annotations) == 1
    assert truth.left_out == {"images_without_annotations": 1, "annotations_without_image": 1}


# ODVG


def odvg(**kinds: Any) -> dict[str, Any]:
    return {"filename": "9.jpg", "height": 100, "width": 200, **kinds}


def test_odvg_as_open_groundingdino_has_it(tmp_path: Path) -> None:
    regions = [
        {"bbox": [0, 0, 5, 5], "phrase": "two dogs"},
        {"bbox": [1, 1, 6, 6], "phrase": "A red car"},
        {"bbox": [9, 9, 14, 14], "phrase": "two dogs"},
        {"bbox": [9, 9, 9, 14], "phrase": "a man"},
    ]
    line = odvg(grounding={"caption": CAPTION, "regions": regions})
    truth = read_truth(write_jsonl(tmp_path / "train.jsonl", [line]))
    assert truth.format == "odvg"
    assert truth.annotations[0].phrases == (
        Phrase("two dogs", None, ((0, 0, 5, 5), (9, 9, 14, 14))),
        Phrase("A red car", None, ((1, 1, 6, 6),)),
        Phrase("a man", None, ()),
    )
    assert truth.left_out == {"boxes_without_area": 1}


def test_odvg_as_mmdetection_has_it(tmp_path: Path) -> None:
    regions = [
        {
            "bbox": [[0, 0, 5, 5], [9, 9, 14, 14]],
            "phrase": ["two", "dogs"],
            "tokens_positive": [[11, 14], [15, 19]],
        },
        {"bbox": [1, 1, 6, 6], "phrase": "A red car", "tokens_positive": [[0, 9]]},
    ]
    line = odvg(grounding={"caption": CAPTION, "regions": regions})
    annotation = only(write_jsonl(tmp_path / "flickr_vg.json", [line]))
    assert annotation.captions == (CAPTION,)
    assert annotation.phrases == (
        Phrase("two dogs", (11, 19), ((0, 0, 5, 5), (9, 9, 14, 14))),
        Phrase("A red car", (0, 9), ((1, 1, 6, 6),)),
    )


def test_odvg_referring_lists_expressions_of_one_box(tmp_path: Path) -> None:
    line = odvg(referring=[{"bbox": [0, 0, 5, 5], "phrase": ["left dog", "the small dog"]}])
    annotation = only(write_jsonl(tmp_path / "rec.jsonl", [line]))
    assert annotation.captions == ()
    assert annotation.phrases == (
        Phrase("left dog", None, ((0, 0, 5, 5),)),
        Phrase("the small dog", None, ((0, 0, 5, 5),)),
    )


def test_odvg_detection_is_of_categories(tmp_path: Path) -> None:
    found = [{"bbox": [0, 0, 5, 5], "label": 0, "category": "dog"}]
    path = tmp_path / "det.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(odvg(detection={"instances": found})).encode()))
    annotation = only(path)
    assert annotation.categories
    assert annotation.phrases == (Phrase("dog", None, ((0, 0, 5, 5),)),)


# RefCOCO

REFS = [
    {
        "ref_id": 1, "ann_id": 5, "image_id": 9, "category_id": 1, "split": "val",
        "file_name": "COCO_9_5.jpg", "sent_ids": [0, 1, 2],
        "sentences": [
            {"sent_id": 0, "raw": "Left dog!", "sent": "left dog", "tokens": ["left", "dog"]},
            {"sent_id": 1, "raw": "small dog", "sent": "small dog", "tokens": ["small", "dog"]},
            {"sent_id": 2, "raw": "left dog", "sent": "left dog", "tokens": ["left", "dog"]},
        ],
    },
]  # fmt: skip
INSTANCES = {
    "images": [{"id": 9, "file_name": "COCO_9.jpg", "width": 200, "height": 100}],
    "annotations": [{"id": 5, "image_id": 9, "category_id": 1, "bbox": [1, 2, 10, 20]}],
    "categories": [{"id": 1, "name": "dog"}],
}


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_refcoco_pickled(tmp_path: Path, protocol: int) -> None:
    write_json(tmp_path / "instances.json", INSTANCES)
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps(REFS, protocol=protocol))
    for path in (tmp_path, tmp_path / "refs(unc).p"):
        truth = read_truth(path)
        assert truth.format == "refcoco"
        box = ((1, 2, 11, 22),)
        assert truth.annotations == (
            Annotation(
                "COCO_9.jpg",
                ("9",),
                (200, 100),
                (),
                (Phrase("left dog", None, box), Phrase("small dog", None, box)),
            ),
        )
        assert truth.left_out == {"repeated_phrases": 1}


@pytest.mark.parametrize("wrap", [lambda refs: refs, lambda refs: {"refs": refs}])
def test_refcoco_as_json(tmp_path: Path, wrap: Any) -> None:
    write_json(tmp_path / "instances.json", INSTANCES)
    write_json(tmp_path / "refs.json", wrap(REFS))
    assert [phrase.text for phrase in only(tmp_path).phrases] == ["left dog", "small dog"]


def test_refcoco_needs_one_refs_file(tmp_path: Path) -> None:
    write_json(tmp_path / "instances.json", INSTANCES)
    for name in ("refs(google).p", "refs(unc).p"):
        (tmp_path / name).write_bytes(pickle.dumps(REFS))
    with pytest.raises(InputError, match=r"refs\(google\)\.p, refs\(unc\)\.p"):
        read_truth(tmp_path)


class _Evil:
    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self._marker,)


@pytest.mark.parametrize(
    "make",
    [
        lambda marker: pickle.dumps([_Evil(marker)]),
        lambda marker: b"cos\nsystem\n(S'touch %s'\ntR." % str(marker).encode(),
        lambda marker: b"cbuiltins\neval\n(S'open(%r, \"w\")'\ntR." % str(marker).encode(),
        lambda marker: b"cbuiltins\nbytearray\n(I10\ntR.",
        lambda marker: b"not a pickle",
        lambda marker: b"",
    ],
)
def test_a_pickle_runs_nothing(tmp_path: Path, make: Any) -> None:
    write_json(tmp_path / "instances.json", INSTANCES)
    marker = tmp_path / "ran"
    (tmp_path / "refs(unc).p").write_bytes(make(marker))
    with pytest.raises(InputError):
        read_truth(tmp_path)
    assert not marker.exists()


# Flickr30k Entities

SENTENCE = (
    "[/EN#1/vehicles A red car] , [/EN#2/animals two dogs] and [/EN#3/people a man] see "
    "[/EN#4/scene the street] in [/EN#0/notvisual a mood] ."
)
XML = """<annotation><filename>9.jpg</filename>
<size><width>200</width><height>100</height><depth>3</depth></size>
<object><name>1</name>
<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>6</xmax><ymax>7</ymax></bndbox></object>
<object><name>2</name>
<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></object>
<object><name>2</name><name>1</name>
<bndbox><xmin>11</xmin><ymin>1</ymin><xmax>15</xmax><ymax>5</ymax></bndbox></object>
<object><name>3</name><scene>0</scene><nobndbox>1</nobndbox></object>
<object><name>4</name><scene>1</scene><nobndbox>0</nobndbox></object>
</annotation>"""


def flickr(folder: Path, sentences: str = SENTENCE, xml: str = XML) -> Path:
    for name, text in {"Sentences/9.txt": sentences, "Annotations/9.xml": xml}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_flickr30k(tmp_path: Path) -> None:
    truth = read_truth(flickr(tmp_path, SENTENCE + "\n" + "[/EN#1/other Cars] .\n"))
    assert truth.format == "flickr30k"
    first, second = truth.annotations
    assert first.image_path == "9.jpg"
    assert first.image_ids == ("9",)
    assert first.size == (200, 100)
    assert first.captions == ("A red car , two dogs and a man see the street in a mood .",)
    assert first.phrases == (
        # Pixels count from 1 there, and xmax is inside the box.
        Phrase("A red car", (0, 9), ((1, 2, 6, 7), (10, 0, 15, 5))),
        Phrase("two dogs", (12, 20), ((0, 0, 5, 5), (10, 0, 15, 5))),
        Phrase("a man", (25, 30), ()),
        Phrase("the street", (35, 45), None),
        Phrase("a mood", (49, 55), None),
    )
    assert all(first.captions[0][p.span[0] : p.span[1]] == p.text for p in first.phrases if p.span)
    assert [phrase.text for phrase in second.phrases] == ["Cars"]


def test_flickr30k_without_annotations_is_counted(tmp_path: Path) -> None:
    flickr(tmp_path)
    (tmp_path / "Sentences" / "10.txt").write_text("[/EN#1/other A dog] .")
    assert read_truth(tmp_path).left_out == {"sentences_without_annotations": 1}


BOMB = "<!DOCTYPE a [<!ENTITY b 'bbbb'><!ENTITY c '&b;&b;&b;'>]><annotation>&c;</annotation>"


@pytest.mark.parametrize("xml", [BOMB, "<annotation>", "", XML.replace(">2<", ">two<")])
def test_flickr30k_broken_xml(tmp_path: Path, xml: str) -> None:
    with pytest.raises(InputError, match="cannot be read as flickr30k"):
        read_truth(flickr(tmp_path, xml=xml))


# Records


def test_records_of_a_run_and_a_single_file(tmp_path: Path) -> None:
    expressions = [expression("A red car", [(1, 1, 6, 6)]), expression("a man", [])]
    rows = [record("9.jpg", expressions, caption=CAPTION)] * 2
    path = write_jsonl(tmp_path / "annotations.jsonl", rows)
    for truth in (read_truth(path), read_truth(tmp_path)):
        assert truth.format == "records"
        assert truth.left_out == {"repeated_records": 1}
        assert truth.annotations[0].phrases == (
            Phrase("A red car", (0, 9), ((1, 1, 6, 6),)),
            Phrase("a man", (24, 29), ()),
        )


def test_records_of_step_0_say_nothing_of_boxes(tmp_path: Path) -> None:
    row = record("9.jpg", [expression("a man", [])], pipeline_steps=["step0_expression_extraction"])
    path = write_jsonl(tmp_path / "records.jsonl", [row])
    assert only(path).phrases[0].boxes is None


# What is documented


def test_what_each_format_needs_is_documented() -> None:
    text = (ROOT / "references" / "output_format.md").read_text(encoding="utf-8")
    assert NEEDS.keys() == READERS.keys()
    for name, needed in NEEDS.items():
        assert f"| `{name}` | {needed} |" in text.splitlines()


# What is refused


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.json", ""),
        ("scalar.json", "3"),
        ("strange.json", '{"boxes": []}'),
        ("strange.jsonl", '{"caption": "a dog"}\n{"caption": "a cat"}\n'),
        ("picture.jpg", "\xff\xd8\xff"),
        ("list.json", "[1, 2]"),
    ],
)
def test_unknown_content_is_an_error_that_names_the_formats(
    tmp_path: Path, name: str, content: str
) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match="none of the known formats") as caught:
        read_truth(path)
    assert all(word in str(caught.value) for word in ("COCO", "ODVG", "RefCOCO", "Flickr30k"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("coco", {"images": [{"id": 1}], "annotations": [{"image_id": 1, "bbox": [1, 2, 3]}]}),
        ("coco", {"images": 3, "annotations": []}),
        ("coco", []),
        ("odvg", {"filename": "9.jpg"}),
        ("odvg", {"filename": "9.jpg", "grounding": {"caption": "a", "regions": [{"bbox": 3}]}}),
        ("coco", {"images": [{"id": 1, "width": [1], "height": 1}], "annotations": []}),
        ("coco", {"images": [{"id": []}], "annotations": []}),
        ("records", {"image_path": "9.jpg", "caption": "a", "expressions": 3}),
        ("refcoco", []),
        ("coco", {"images": [], "annotations": []}),
    ],
)
def test_a_broken_file_is_an_error_that_names_it(tmp_path: Path, name: str, value: Any) -> None:
    path = write_json(tmp_path / "truth.json", value)
    with pytest.raises(InputError, match=r"truth\.json|instances\.json") as caught:
        read_truth(path, name)
    assert name != "odvg" or "line 1" in str(caught.value)


DEEP = b'{"image_path": ' + b"[" * 100_000
LINE = json.dumps(record("9.jpg", [expression("a man", [(1, 1, 6, 6)])])).encode() + b"\n"


def changed(**fields: Any) -> bytes:
    return json.dumps({**json.loads(LINE), **fields}).encode() + b"\n"


def with_box(**fields: Any) -> bytes:
    return changed(expressions=[{"text": "a man", "instances": [fields]}])


BROKEN_LINES = {
    b"{": "line 2: not JSON Lines",
    DEEP: "line 2: not JSON Lines",
    b"[]": "line 2: not a JSON object",
    b'{"x": NaN}': "line 2: not JSON Lines",
    b'{"x": 1e999}': "line 2: not JSON Lines",
    changed(caption=None): "line 2: not a record (caption",
    changed(caption=3): "line 2: not a record (caption",
    changed(image_id={}): "line 2: not a record (image_id",
    changed(width="wide"): "line 2: not a record (width",
    changed(height=None): "line 2: not a record (height",
    changed(expressions={"a": 1}): "line 2: not a record (expressions",
    changed(expressions=["a man"]): "line 2: not a record (expressions",
    changed(expressions=[{"text": 7}]): "line 2: not a record (text",
    changed(expressions=[{"text": "a", "instances": 7}]): "line 2: not a record (instances",
    with_box(bbox=[1, 2, 3]): "line 2: not a record (bbox",
    with_box(bbox=["a", 2, 3, 4]): "line 2: not a record (bbox",
    with_box(bbox=[1, 2, 3, 4], score="high"): "line 2: not a record (score",
}


@pytest.mark.parametrize("line", BROKEN_LINES)
def test_a_broken_line_is_an_error_with_its_number(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "annotations.jsonl"
    path.write_bytes(LINE + line)
    with pytest.raises(InputError, match=re.escape(BROKEN_LINES[line])):
        list(Results(path).records())
    with pytest.raises(InputError, match=re.escape(BROKEN_LINES[line])):
        read_truth(path)


@pytest.mark.parametrize("kept", [0.9, 0.5])
def test_a_cut_gz_is_an_error(tmp_path: Path, kept: float) -> None:
    whole = gzip.compress(b"".join(changed(caption=f"{n**9}") for n in range(300)))
    for name in ("records", "coco", "auto"):
        path = tmp_path / "truth.jsonl.gz"
        path.write_bytes(whole[: int(len(whole) * kept)])
        with pytest.raises(InputError, match=r"cannot read .*truth\.jsonl\.gz"):
            read_truth(path, name)
        with pytest.raises(InputError, match=r"cannot read .* after line \d+"):
            list(Results(path).records())
    path.write_bytes(whole[:300] + b"\xff" * 300 + whole[600:])
    with pytest.raises(InputError, match="cannot read"):
        read_truth(path)


def test_fractions_of_pixels_are_rounded_out_and_wrong_spans_mended(tmp_path: Path) -> None:
    item = {"text": "a man", "char_span": [22, 27], "instances": [
        {"bbox": [10.9, 20.000000001, 30.1, 39.0], "bbox_score": 0.5}
    ]}  # fmt: skip
    line = record("a/9.jpg", [item])
    del line["image_id"]
    read = next(Results(write_jsonl(tmp_path / "tao.jsonl", [line])).records())
    assert read.image_id == "9"
    (found,) = read.expressions
    assert found.instances == (Instance((10, 20, 31, 39), 0.5),)
    assert found.char_span == (24, 29)


def test_no_such_truth_and_an_empty_folder(tmp_path: Path) -> None:
    for name in ("nowhere", "x" * 300):
        with pytest.raises(InputError, match="no such truth"):
            read_truth(tmp_path / name)
    with pytest.raises(InputError, match="none of the known formats"):
        read_truth(tmp_path)
