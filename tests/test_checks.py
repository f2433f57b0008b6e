# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from image_grounding.boxes.frames import CONVENTIONS, Transport
from image_grounding.errors import SpecError
from image_grounding.images.pixels import Header, read_header
from image_grounding.inspection.checks import (
    CHECKS,
    DATASET_CHECKS,
    RECORD_CHECKS,
    Subject,
    check_record,
)
from image_grounding.inspection.checks.dataset import DatasetCounts
from image_grounding.inspection.checks.words import count_of, is_sentence
from image_grounding.inspection.model import Flag, Level
from image_grounding.results.reading import Results
from image_grounding.spec import load_limits
from support.captions import FAULTY, ORDINARY
from support.results import make_line, misread
from support.scenes import make_scene

UPRIGHT = Header((640, 480), 1)
DOG = (100, 100, 300, 300)
CAT = (350, 120, 420, 200)


def records_of(tmp_path, *lines):
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return list(Results(path).records())


def flags_of(tmp_path, phrases, header="upright", **more) -> tuple[Flag, ...]:
    line = make_line(0, phrases, **more)
    (record,) = records_of(tmp_path, line)
    header = Header(record.size, 1) if header == "upright" else header
    return check_record(Subject(record, header))


# --- one record: a case that is flagged, and its nearest that is not

RECORD_CASES = [
    # check, phrases, more, where it is: expression and boxes, or None where it is not
    ("ungrounded_expression", [("a dog", [])], {}, (0, ())),
    ("ungrounded_expression", [("a dog", [DOG])], {}, None),
    ("ungrounded_expression", [("a dog", [])], {"grounded": False}, None),
    ("impossible_box", [("a dog", [(600, 10, 700, 60)])], {}, (0, (0,))),
    ("impossible_box", [("a dog", [(30, 10, 30, 60)])], {}, (0, (0,))),
    ("impossible_box", [("a dog", [(600, 10, 640, 480)])], {}, None),
    ("whole_image_box", [("a dog", [(0, 5, 636, 480)])], {}, (0, (0,))),
    ("whole_image_box", [("a dog", [(0, 5, 590, 480)])], {}, None),
    ("tiny_box", [("a dog", [DOG, (50, 50, 56, 57)])], {}, (0, (1,))),
    ("tiny_box", [("a dog", [(50, 50, 56, 62)])], {}, None),
    ("tiny_box", [("a dog", [(50, 50, 80, 62)])], {"size": (4000, 3000)}, (0, (0,))),
    ("thin_box", [("a pole", [(50, 50, 60, 201)])], {}, (0, (0,))),
    ("thin_box", [("a pole", [(50, 50, 60, 200)])], {}, None),
    ("shared_box", [("a cat", [CAT]), ("a dog", [DOG]), ("a man", [CAT])], {}, (0, (0,))),
    ("shared_box", [("a dog", [DOG]), ("a cat", [CAT])], {}, None),
    ("shared_box", [("a dog", [DOG]), ("A dog", [DOG])], {}, None),
    ("duplicate_boxes", [("dogs", [DOG, CAT, (101, 100, 300, 299)])], {}, (0, (2,))),
    ("duplicate_boxes", [("dogs", [DOG, (150, 100, 350, 300)])], {}, None),
    ("duplicate_boxes", [("dogs", [DOG]), ("a pet", [DOG])], {}, None),
    ("border_box", [("a dog", [(0, 100, 640, 480)])], {}, None),
    ("border_box", [("the floor", [(0, 470, 640, 480)])], {}, None),
    ("border_box", [("a dog", [(630, 100, 640, 160)])], {}, (0, (0,))),
    ("border_box", [("a dog", [(500, 100, 640, 480)])], {}, None),
    ("border_box", [("a dog", [(0, 0, 640, 480)])], {}, None),
    ("no_expressions", [], {}, (None, ())),
    ("no_expressions", [("a dog", [DOG])], {}, None),
    ("span_null", [("a dog", [DOG]), ("a cat", [CAT])], {"cleaned": "a dog runs"}, (1, ())),
    ("span_null", [("a dog", [DOG])], {"cleaned": "see a dog run"}, None),
    ("not_a_noun_phrase", [("It", [DOG])], {}, (0, ())),
    ("not_a_noun_phrase", [("something", [DOG])], {}, (0, ())),
    ("not_a_noun_phrase", [("A dog runs.", [DOG])], {}, (0, ())),
    ("not_a_noun_phrase", [("the dog is brown", [DOG])], {}, (0, ())),
    ("not_a_noun_phrase", [("狗在跑。", [DOG])], {}, (0, ())),
    ("not_a_noun_phrase", [("...", [DOG])], {}, (0, ())),
    ("not_a_noun_phrase", [(" ".join(["very"] * 20 + ["dog"]), [DOG])], {}, (0, ())),
    ("not_a_noun_phrase", [("the man who is running", [DOG])], {}, None),
    ("not_a_noun_phrase", [("the Paris one", [DOG]), ("itinerary", [CAT])], {}, None),
    ("not_a_noun_phrase", [("一只狗", [DOG])], {}, None),
    ("number_mismatch", [("two dogs", [DOG])], {}, (0, (0,))),
    ("number_mismatch", [("the 3 dogs", [DOG, CAT])], {}, (0, (0, 1))),
    ("number_mismatch", [("a dog", [DOG, CAT])], {}, (0, (0, 1))),
    ("number_mismatch", [("two dogs", [DOG, CAT])], {}, None),
    ("number_mismatch", [("two dogs", [])], {}, None),
    ("number_mismatch", [("two-story house", [DOG])], {}, None),
    ("number_mismatch", [("7:30 on a clock", [DOG])], {}, None),
    ("number_mismatch", [("a pair of shoes", [DOG, CAT])], {}, None),
    ("number_mismatch", [("the dogs", [DOG, CAT])], {}, None),
    ("number_mismatch", [("two dogs", [DOG])], {"grounded": False}, None),
    ("lead_in_left", [("a dog", [DOG])], {"cleaned": "We can see a dog"}, (None, ())),
    ("lead_in_left", [("a dog", [DOG])], {"cleaned": "This image shows a dog"}, (None, ())),
    ("lead_in_left", [("a dog", [DOG])], {"cleaned": "a dog that we can see"}, None),
    (
        "caption_rewritten",
        [("a dog", [DOG])],
        {"caption": "Holiday 2019, Lisbon", "cleaned": "a dog beside a wooden fence"},
        (None, ()),
    ),
    (
        "caption_rewritten",
        [("a dog", [DOG])],
        {"caption": "In this picture we can see a dog and so on", "cleaned": "a dog"},
        None,
    ),
    ("image_unreadable", [("a dog", [DOG])], {"header": None}, (None, ())),
    ("image_unreadable", [("a dog", [DOG])], {}, None),
    ("size_mismatch", [("a dog", [DOG])], {"header": Header((480, 640), 1)}, (None, ())),
    ("size_mismatch", [("a dog", [DOG])], {"header": None}, None),
    ("exif_rotated", [("a dog", [DOG])], {"header": Header((640, 480), 6)}, (None, ())),
    ("exif_rotated", [("a dog", [DOG])], {}, None),
    ("extreme_aspect", [("a dog", [DOG])], {"size": (2000, 600)}, (None, ())),
    ("extreme_aspect", [("a dog", [DOG])], {"size": (600, 1800)}, None),
]


@pytest.mark.parametrize(("name", "phrases", "more", "where"), RECORD_CASES)
def test_record_check(tmp_path, name, phrases, more, where):
    found = [flag for flag in flags_of(tmp_path, phrases, **more) if flag.check == name]
    if where is None:
        assert found == []
    else:
        assert (found[0].expression, found[0].instances) == where


def test_every_record_check_has_a_case_each_way():
    for hit in (True, False):
        named = {name for name, _, _, where in RECORD_CASES if (where is not None) == hit}
        assert named == {check.name for check in RECORD_CHECKS}


def flags_by_caption(tmp_path, written):
    lines = [
        make_line(i, list(sample.phrases.items()), caption=sample.caption, cleaned=sample.cleaned)
        for i, sample in enumerate(written)
    ]
    records = records_of(tmp_path, *lines)
    return {
        record.caption: {flag.check for flag in check_record(Subject(record, UPRIGHT))}
        for record in records
    }


def test_ordinary_captions_are_left_alone(tmp_path):
    found = flags_by_caption(tmp_path, ORDINARY)
    flagged = {caption: flags for caption, flags in found.items() if flags}
    assert len(found) >= 60
    assert len(flagged) < 0.05 * len(found), flagged


def test_faulty_captions_are_flagged_for_what_they_are(tmp_path):
    found = flags_by_caption(tmp_path, [sample for _, sample in FAULTY])
    assert len(found) >= 30
    assert not [
        (name, sample.caption) for name, sample in FAULTY if name not in found[sample.caption]
    ]


NOUN_PHRASES = [
    "a woman in a red dress with a hat", "people in the stands", "two bus stops on a street",
    "a market stand with fruit", "the dogs' play area", "a race car on the track",
    "one of the cows", "the St. Louis Arch", "a cup on top of the book", "her left hand",
    "people watching a game", "a fly on a window", "a drink on the table", "batter and catcher",
    "a teddy bear the size of a child", "a man, his dog and the leash", "the last slice",
    "a hand holding up a phone", "cars parked along the street", "half a sandwich",
]  # fmt: skip
SENTENCES = [
    "A train travels down the tracks", "A cat lies on a bed", "Three people stand near a bus",
    "Some kids jump into the pool", "A bird flies over the water", "Cows graze in a meadow",
    "The bus stops at a corner and a man waits for it as the rain is falling", "He holds a phone",
    "A man on a bike rides down the street", "A clock hangs on the wall", "Dogs play",
]  # fmt: skip


def test_sentences_differ_from_noun_phrases():
    assert [text for text in NOUN_PHRASES if is_sentence(text)] == []
    assert [text for text in SENTENCES if not is_sentence(text)] == []


COUNTS = {
    "four dogs": 4, "3 men in hats": 3, "two of the dogs": 2, "both dogs": 2, "two bus stops": 2,
    "two glasses of water": 2, "two dogs who chase a cat": 2, "all three boys": 3, "a dog": 1,
    "Four wheel drive": None, "each plate": None, "two year old boy": None, "8 ball": None,
    "five star hotel": None, "three cows and a dog": None, "the 1980s car": None, "dogs": None,
}  # fmt: skip


def test_how_many_a_phrase_says_that_there_are():
    assert {text: count_of(text) for text in COUNTS} == COUNTS


def test_shared_box_is_flagged_on_every_owner(tmp_path):
    flags = flags_of(tmp_path, [("a cat", [CAT]), ("a dog", [DOG]), ("a man", [CAT])])
    assert [flag.expression for flag in flags if flag.check == "shared_box"] == [0, 2]


def test_a_good_record_has_no_flag(tmp_path):
    assert flags_of(tmp_path, [("a dog", [DOG]), ("a cat", [CAT])]) == ()


def test_checks_speak_for_themselves():
    assert (*RECORD_CHECKS, *DATASET_CHECKS) == CHECKS
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert check.sentence.endswith(".") and check.remedy.endswith("."), check
        assert check.dataset == (check in DATASET_CHECKS)


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
def test_header_is_upright(tmp_path, orientation, ending):
    scene = make_scene((60, 40))
    path = scene.save(tmp_path / f"picture.{ending}", orientation)
    assert read_header(path) == Header((60, 40), orientation)


def test_header_of_no_image(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    assert read_header(tmp_path / "text.png") is None
    assert read_header(tmp_path / "gone.png") is None
    assert read_header(tmp_path / "a\0b.png") is None


# --- all records: wrong conventions

COCO = [(640, 480), (480, 640), (640, 427)]
PHOTOS = [(4032, 3024), (3024, 4032)]
SMALL = [(320, 240)]
MEGAPIXEL = Transport(1280 * 28 * 28, 28, 4 * 28 * 28)


def findings_of(
    tmp_path, lines, failures=(), dropped=(), thresholds=(), clipped=0, teacher=None
):  # fmt: skip
    totals = DatasetCounts()
    for record in records_of(tmp_path, *lines):
        flags = check_record(Subject(record, Header(record.size, 1)))
        totals.add(record, flags, tmp_path / record.image_path)
    for reason in failures:
        totals.add_failure("1", reason)
    counts = {"dropped_boxes": dict(dropped), "clipped_boxes": clipped}
    summary = {"counts": counts, "teacher": teacher or {}}
    return totals.findings(summary, load_limits({}, thresholds))


def convention_of(tmp_path, *arguments, **more):
    lines, dropped = misread(*arguments, **more)
    found = findings_of(tmp_path, lines, dropped=dropped)
    return {finding.check: finding for finding in found if finding.check.startswith("convention_")}


@pytest.mark.parametrize("sizes", [COCO, PHOTOS, SMALL], ids=["coco", "photos", "small"])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_right_convention_is_not_called_wrong(tmp_path, sizes, convention):
    more = {"transport": MEGAPIXEL} if convention == "pixel_resized" else {}
    found = convention_of(tmp_path, sizes, convention, convention, with_sides=True, **more)
    assert found == {}


WRONG = [
    # written in, read as, images, signature
    ("norm1_xyxy", "pixel_sent", COCO, "fractions"),
    ("norm1_xyxy", "pixel_resized", PHOTOS, "fractions"),
    ("norm1_xyxy", "norm1000_xyxy", PHOTOS, "fractions"),
    ("norm1_xyxy", "norm1000_yxyx", COCO, "fractions"),
    ("norm1000_xyxy", "pixel_sent", PHOTOS, "thousand"),
    ("norm1000_yxyx", "pixel_sent", PHOTOS, "thousand"),
    ("norm1000_xyxy", "pixel_sent", COCO, "scale_large"),
    ("norm1000_xyxy", "pixel_resized", SMALL, "scale_large"),
    ("norm1000_xyxy", "norm1_xyxy", COCO, "scale_large"),
    ("pixel_sent", "norm1_xyxy", SMALL, "scale_large"),
    ("pixel_sent", "norm1000_xyxy", PHOTOS, "scale_large"),
    ("pixel_sent", "pixel_resized", PHOTOS, "scale_large"),
    ("pixel_sent", "norm1000_xyxy", COCO, "scale_small"),
    ("pixel_sent", "norm1000_yxyx", COCO, "scale_small"),
    ("pixel_resized", "norm1000_xyxy", SMALL, "scale_small"),
    ("pixel_resized", "pixel_sent", PHOTOS, "scale_small"),
    ("norm1000_yxyx", "norm1000_xyxy", COCO, "axes"),
    ("norm1000_xyxy", "norm1000_yxyx", PHOTOS, "axes"),
]


@pytest.mark.parametrize(("written", "read", "sizes", "signature"), WRONG)
def test_wrong_convention_is_named(tmp_path, written, read, sizes, signature):
    found = convention_of(tmp_path, sizes, written, read)
    finding = found[f"convention_{signature}"]
    assert finding.sentence.startswith("Wrong box convention: ")
    assert "vlm.coordinates" in finding.remedy
    # Shapes alone are no proof that axes are exchanged.
    assert finding.level is (Level.WARN if signature == "axes" else Level.FAIL)


def test_photos_shrunk_to_about_a_thousand_pixels(tmp_path):
    """Here 0-1000 and pixels as sent differ by an eighth only; it takes many boxes to see."""
    found = convention_of(
        tmp_path, PHOTOS, "norm1000_xyxy", "pixel_sent", count=300, transport=MEGAPIXEL
    )
    assert set(found) == {"convention_scale_small"}


@pytest.mark.parametrize(("written", "fails"), [("norm1000_yxyx", True), ("norm1000_xyxy", False)])
def test_words_for_sides_tell_exchanged_axes_even_in_equal_pictures(tmp_path, written, fails):
    found = convention_of(tmp_path, SMALL, written, "norm1000_xyxy", with_sides=True)
    assert ("convention_axes" in found) == fails
    if fails:
        assert found["convention_axes"].level is Level.FAIL


@pytest.mark.parametrize(
    ("count", "thresholds", "level"),
    [(3, [], None), (9, [], Level.WARN), (9, ["min_boxes=20"], Level.FAIL), (10, [], Level.FAIL)],
)
def test_few_boxes_prove_nothing(tmp_path, count, thresholds, level):
    lines, _ = misread(PHOTOS, "norm1000_xyxy", "pixel_sent", count=count)
    found = findings_of(tmp_path, lines, thresholds=thresholds)
    levels = [finding.level for finding in found if finding.check == "convention_thousand"]
    assert levels == ([level] if level else [])
    assert any("Few boxes" in finding.sentence for finding in found) == (level is Level.WARN)


@pytest.mark.parametrize(("clipped", "found"), [(0, False), (9, False), (10, True)])
def test_boxes_that_pass_the_border_tell_a_larger_scale(tmp_path, clipped, found):
    lines, _ = misread(COCO, "norm1000_xyxy", "norm1000_xyxy", count=60)
    checks = {finding.check for finding in findings_of(tmp_path, lines, clipped=clipped)}
    assert ("convention_scale_large" in checks) == found


def test_one_quadrant(tmp_path):
    def line(index, x, y):
        return make_line(index, [("a dog", [(x, y, x + 60, y + 60)])])

    spread = [(330 + 13 * (i % 19), 250 + 9 * (i % 17)) for i in range(40)]
    (finding,) = findings_of(tmp_path, [line(i, x, y) for i, (x, y) in enumerate(spread)])
    assert (finding.check, finding.level) == ("convention_quadrant", Level.FAIL)
    assert "bottom right" in finding.sentence
    both = [(x - 330 * (i % 2), y) for i, (x, y) in enumerate(spread)]
    assert findings_of(tmp_path, [line(i, x, y) for i, (x, y) in enumerate(both)]) == []


def test_replies_without_a_usable_box_count_as_outside(tmp_path):
    lines, _ = misread(COCO, "norm1000_xyxy", "norm1000_xyxy", count=60)
    found = findings_of(tmp_path, lines, failures=["reply_unusable"] * 60)
    assert {"convention_scale_large", "failed_share"} == {finding.check for finding in found}
    found = findings_of(tmp_path, lines, failures=["timeout"] * 60)
    assert [finding.check for finding in found] == ["failed_share"]
    assert "60 x timeout" in found[0].sentence


# --- all records: the rest


def spread_lines(count, phrases=lambda box, index: [("a dog", [box])]):
    lines, _ = misread(COCO, "norm1000_xyxy", "norm1000_xyxy", count=count)
    for index, line in enumerate(lines):
        boxes = [tuple(expression["instances"][0]["bbox"]) for expression in line["expressions"]]
        size = (line["width"], line["height"])
        yield make_line(index, phrases(boxes[0], index), size=size)


DATASET_CASES = [
    # check, level, lines, failures, whether it is found
    ("no_records", Level.FAIL, lambda: [], ["timeout"], True),
    ("no_records", Level.FAIL, lambda: spread_lines(1), [], False),
    ("failed_share", Level.FAIL, lambda: spread_lines(90), ["timeout"] * 12, True),
    ("failed_share", Level.WARN, lambda: spread_lines(9), ["blocked"], True),
    ("failed_share", Level.FAIL, lambda: spread_lines(95), ["timeout"] * 5, False),
    (
        "no_expressions_at_all", Level.FAIL, lambda: [make_line(i, []) for i in range(3)], [], True,
    ),
    ("no_expressions_at_all", Level.FAIL, lambda: spread_lines(1), [], False),
    (
        "no_boxes_at_all", Level.FAIL,
        lambda: spread_lines(3, lambda box, i: [("a dog", [])]), [], True,
    ),
    (
        "no_boxes_at_all", Level.FAIL,
        lambda: spread_lines(3, lambda box, i: [("a dog", [] if i else [box])]), [], False,
    ),
    (
        "ungrounded_share", Level.FAIL,
        lambda: spread_lines(90, lambda box, i: [("a dog", [box] if i < 30 else [])]), [], True,
    ),
    (
        "ungrounded_share", Level.WARN,
        lambda: spread_lines(9, lambda box, i: [("a dog", [box] if i < 4 else [])]), [], True,
    ),
    (
        "ungrounded_share", Level.FAIL,
        lambda: spread_lines(8, lambda box, i: [("a dog", [box] if i < 4 else [])]), [], False,
    ),
    (
        "one_score", Level.WARN,
        lambda: spread_lines(40, lambda box, i: [("a dog", [box], [0.9 if i else 0.5])]), [], True,
    ),
    (
        "one_score", Level.WARN,
        lambda: spread_lines(40, lambda box, i: [("a dog", [box], [0.9 if i > 2 else 0.5])]), [],
        False,
    ),
    (
        "one_score", Level.WARN,
        lambda: spread_lines(40, lambda box, i: [("a dog", [box], [None])]), [], False,
    ),
    (
        "widespread_flag", Level.WARN,
        lambda: spread_lines(20, lambda box, i: [("it" if i < 11 else "a dog", [box])]), [], True,
    ),
    (
        "widespread_flag", Level.WARN,
        lambda: spread_lines(20, lambda box, i: [("it" if i < 10 else "a dog", [box])]), [], False,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "level", "lines", "failures", "found"), DATASET_CASES)
def test_dataset_check(tmp_path, name, level, lines, failures, found):
    findings = {finding.check: finding for finding in findings_of(tmp_path, lines(), failures)}
    assert (name in findings) == found
    if found:
        assert findings[name].level is level


MEASURED = {"backend": "openai", "convention": "norm1000_xyxy", "convention_iou": 0.97}


@pytest.mark.parametrize(
    ("teacher", "count", "found"),
    [
        (MEASURED, 40, set()),
        ({**MEASURED, "convention_iou": None}, 40, {"unmeasured_convention"}),
        ({**MEASURED, "convention_iou": 0.62}, 40, {"coarse_boxes"}),
        ({"backend": "local", "convention": None}, 40, {"embedded_annotator"}),
        ({}, 40, set()),  # results of another tool
        (MEASURED, 9, {"checks_not_made"}),
    ],
)
def test_what_is_known_of_the_teacher(tmp_path, teacher, count, found):
    lines = list(spread_lines(count))
    assert {finding.check for finding in findings_of(tmp_path, lines, teacher=teacher)} == found


def test_every_dataset_check_has_a_case():
    named = {name for name, *_ in DATASET_CASES}
    named |= {"unmeasured_convention", "coarse_boxes", "embedded_annotator", "checks_not_made"}
    named |= {"incomplete", "mixed_conventions"}  # in test_verdicts.py and test_reread.py
    named |= {f"convention_{signature}" for *_, signature in WRONG} | {"convention_quadrant"}
    assert named == {check.name for check in DATASET_CHECKS}


def test_thresholds():
    assert load_limits({}).failed == 0.05
    assert load_limits({"failed": 0.2}).failed == 0.2
    assert load_limits({"failed": 0.2}, ["inspection.failed=0.3", "min_boxes=5"]).failed == 0.3
    with pytest.raises(SpecError, match=r"did you mean image_grounding.inspection.ungrounded"):
        load_limits({}, ["ungrunded=0.3"])
    with pytest.raises(SpecError, match="at most 1"):
        load_limits({}, ["failed=5"])
