# SPDX-License-Identifier: Apache-2.0
"""The embedded annotator: what it finds in captions, and in the three photos of the bundle."""

import asyncio
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

from image_grounding.boxes.geometry import box_iou
from image_grounding.images.pixels import upright_size
from image_grounding.input.samples import Sample
from image_grounding.resources import asset_path
from image_grounding.spec.model import Local
from image_grounding.steps.annotations import Expression, Extraction, Grounding
from image_grounding.steps.drive import drive
from image_grounding.steps.extraction import EXTRACTION, ask_about
from image_grounding.steps.grounding import GROUNDING
from image_grounding.steps.step import Earlier
from image_grounding.teachers.local.teacher import LocalTeacher
from image_grounding.teachers.local.vocabulary import (
    COCO_CLASSES,
    clean_caption,
    find_mentions,
)

# Text -> phrase and class of each mention.
MENTIONS: list[tuple[str, list[tuple[str, str]]]] = [
    ("a red car", [("a red car", "car")]),
    ("a  red\tcar", [("a  red\tcar", "car")]),
    ("A cat, a dog and three birds", [("A cat", "cat"), ("a dog", "dog"), ("three birds", "bird")]),
    ("two women and four children", [("two women", "person"), ("four children", "person")]),
    ("Knives and buses", [("Knives", "knife"), ("buses", "bus")]),
    ("some cute puppies", [("some cute puppies", "dog")]),
    ("DOGS", [("DOGS", "dog")]),
    ("a sheep and skis", [("a sheep", "sheep"), ("skis", "skis")]),
    ("a kitten on a sofa", [("a kitten", "cat"), ("a sofa", "couch")]),
    ("a TV, two TVs", [("a TV", "tv"), ("two TVs", "tv")]),
    ("a hot dog", [("a hot dog", "hot dog")]),
    ("a teddy bear", [("a teddy bear", "teddy bear")]),
    ("traffic lights", [("traffic lights", "traffic light")]),
    ("a wine glass", [("a wine glass", "wine glass")]),
    ("a wineglass", [("a wineglass", "wine glass")]),
    ("a cup of coffee", [("a cup of coffee", "cup")]),
    ("the white coffee cup", [("the white coffee cup", "cup")]),
    ("a computer mouse", [("a computer mouse", "mouse")]),
    ("a computer and its control", []),
    ("a remote control", [("a remote control", "remote")]),
    ("an orange on the table", [("an orange", "orange"), ("the table", "dining table")]),
    ("an orange cup", [("an orange cup", "cup")]),
    ("it is orange", []),
    ("a man riding a horse", [("a man", "person"), ("a horse", "horse")]),
    ("the man's dog", [("the man's dog", "dog")]),
    ("the dog.The cat", [("the dog", "dog"), ("The cat", "cat")]),
    ("a very big old rusty green shiny car", [("car", "car")]),
    ("shiny car", [("car", "car")]),
    ("the carpet of the cathedral, a scarf, a bath", []),
    ("a car park behind the dog house", []),
    ("a dog-like creature", []),
    ("une voiture rouge, ein roter Hund, 赤い車", []),
    ("a dog赤", []),
    ("a zebra crossing a road", [("a zebra", "zebra")]),
    ("", []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), MENTIONS, ids=[text for text, _ in MENTIONS])
def test_mentions(text: str, expected: list[tuple[str, str]]) -> None:
    found = list(find_mentions(text))
    assert [(text[one.start : one.end], one.coco_class) for one in found] == expected
    assert all(text[one.start : one.end].endswith(one.noun) for one in found)


def test_every_class_names_itself() -> None:
    assert len(COCO_CLASSES) == len(set(COCO_CLASSES)) == 80
    for name in COCO_CLASSES:
        assert [one.coco_class for one in find_mentions(f"the {name}")] == [name]


@pytest.mark.parametrize(
    ("caption", "cleaned"),
    [
        ("We can see a cat", "A cat"),
        ("there is a dog", "A dog"),
        ("There are dogs everywhere", "There are dogs everywhere"),
        ("In this image, we can see a cat", "A cat"),
        ("The image shows a cat.", "A cat."),
        ("A photo of the cat", "The cat"),
        ("  A cat  ", "A cat"),
        ("the picture frame", "the picture frame"),
        ("we can see", "we can see"),
        ("", ""),
    ],
)
def test_lead_ins_go(caption: str, cleaned: str) -> None:
    assert clean_caption(caption) == cleaned


# By eye, from the photos with a grid over them; the phrase's box in pixels.
PHOTOS: list[tuple[str, str, tuple[int, int, int, int], float]] = [
    ("astronaut.jpg", "a smiling astronaut", (22, 15, 366, 512), 0.85),
    ("coffee.jpg", "a small white cup", (172, 17, 408, 310), 0.55),
    ("chelsea.jpg", "a ginger cat", (0, 0, 400, 300), 0.8),
]


@cache
def teacher_with(threshold: float) -> LocalTeacher:
    return LocalTeacher(Local(score_threshold=threshold))


def ground(path: Path, *phrases: str, threshold: float = 0.4) -> Grounding:
    teacher = teacher_with(threshold)
    expressions = tuple(Expression(text, text, None) for text in phrases)
    earlier = Earlier().plus(EXTRACTION, Extraction("", expressions))
    sample = Sample(1, "a", 1, str(path), "", {})
    move = GROUNDING.plan(sample, upright_size(path), earlier, teacher.profile)
    return asyncio.run(drive(move, GROUNDING.read, teacher)).result


@pytest.mark.parametrize(("photo", "phrase", "truth", "least"), PHOTOS, ids=[p[0] for p in PHOTOS])
def test_the_photos(
    photo: str, phrase: str, truth: tuple[int, int, int, int], least: float
) -> None:
    found = ground(asset_path("photos") / photo, phrase, "a zebra", "her courage")
    ((instance,), none, unknown) = found.instances
    assert box_iou(instance.bbox, truth) >= least
    assert instance.score is not None and 0.4 <= instance.score <= 1
    assert none == unknown == ()


def test_boxes_of_a_turned_photo_are_upright(tmp_path: Path) -> None:
    turned = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90,
              8: Image.Transpose.ROTATE_270}  # fmt: skip
    photo = asset_path("photos") / "coffee.jpg"
    ((upright,),) = ground(photo, "a cup").instances
    exif = Image.Exif()
    for orientation, transposed in turned.items():
        exif[0x0112] = orientation
        with Image.open(photo) as image:
            image.transpose(transposed).save(tmp_path / "cup.jpg", exif=exif, quality=95)
        ((instance,),) = ground(tmp_path / "cup.jpg", "a cup").instances
        assert box_iou(instance.bbox, upright.bbox) > 0.9, orientation


def test_a_higher_threshold_leaves_less() -> None:
    path = asset_path("photos") / "chelsea.jpg"
    counts = [
        [len(one) for one in ground(path, "a cat", "a dog", threshold=threshold).instances]
        for threshold in (0.1, 0.4, 0.45, 0.99)
    ]
    assert counts[1:] == [[1, 1], [1, 0], [0, 0]]
    assert counts[0] >= counts[1]
    for instance in ground(path, "a cat", threshold=0.1).instances[0]:
        assert instance.score is not None and instance.score >= 0.1


def test_extraction_gives_spans_of_the_cleaned_caption() -> None:
    teacher = teacher_with(0.4)
    ask = ask_about("We can see 🚗 a red car and a dog.", None)
    found = asyncio.run(drive(ask, EXTRACTION.read, teacher)).result
    assert found.cleaned_caption == "🚗 a red car and a dog."
    assert found.expressions == (
        Expression("a red car", "car", (2, 11)),
        Expression("a dog", "dog", (16, 21)),
    )
