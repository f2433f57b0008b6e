# SPDX-License-Identifier: Apache-2.0
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import write_jsonl
from image_grounding.errors import InputError
from image_grounding.inspection.advice import Decision, advise
from image_grounding.inspection.marks import digest_of, judgements_of, read_marks
from image_grounding.inspection.review import Basis, Figures, Review, review_run
from image_grounding.inspection.thresholds import Threshold
from image_grounding.inspection.wilson import (
    Rate,
    trials_needed,
    trials_to_decide,
    wilson_interval,
)
from image_grounding.results.reading import Results
from support.results import make_line, write_results
from support.scripts import run_script

# --- Wilson's interval

PUBLISHED = [
    # good, total, bounds
    # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3
    (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0, 0.1611),
    (1, 29, 0.0061, 0.1718),
]


@pytest.mark.parametrize(("good", "total", "low", "high"), PUBLISHED)
def test_published_intervals(good, total, low, high):
    assert wilson_interval(good, total) == pytest.approx((low, high), abs=5e-5)
    assert wilson_interval(total - good, total) == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_interval_of_nothing():
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert Rate().share is None


@given(st.integers(1, 5000), st.data())
def test_interval_holds_the_share_and_stays_in_bounds(total, data):
    good = data.draw(st.integers(0, total))
    low, high = wilson_interval(good, total)
    assert 0 <= low <= good / total + 1e-12 and good / total <= high + 1e-12 and high <= 1


@given(st.floats(0, 1), st.floats(0.005, 0.3))
def test_trials_needed_are_the_fewest(share, half_width):
    needed = trials_needed(share, half_width)

    def width(total):
        low, high = wilson_interval(share * total, total)
        return high - low

    assert width(needed) <= 2 * half_width
    assert needed == 1 or width(needed - 1) > 2 * half_width


# --- what marks mean

MARKS = ("good", "wrong_box", "wrong_phrase", "missing")
BOX, OTHER = (100, 100, 200, 200), (300, 100, 400, 200)

MEANINGS = [
    # boxes, marks by box (None: the expression) -> phrase, missing, boxes that are judged
    ([BOX], {None: "good"}, (True, False, [True])),
    ([BOX], {None: "wrong_box"}, (True, False, [False])),
    ([BOX], {None: "wrong_phrase"}, (False, False, [])),
    ([BOX], {None: "missing"}, (True, True, [True])),
    ([], {None: "good"}, (True, False, [])),
    ([], {None: "missing"}, (True, True, [])),
    ([BOX, OTHER], {None: "good"}, (True, False, [True, True])),
    ([BOX, OTHER], {None: "good", 1: "wrong_box"}, (True, False, [True, False])),
    ([BOX, OTHER], {None: "wrong_box", 0: "good"}, (True, False, [True, False])),
    ([BOX, OTHER], {1: "wrong_box"}, (True, False, [False])),
    ([BOX, OTHER], {0: "good", 1: "wrong_phrase"}, (False, False, [])),
    ([BOX, OTHER], {None: "good", 0: "missing"}, (True, True, [True, True])),
    ([BOX], {}, None),
]


def review_file(folder, marks, run="run", picks=None):
    """A review.json; ``marks`` maps (sample, expression, box or None) to a mark."""
    items = [
        {
            "sample_id": f"s{sample}",
            "expression_id": f"s{sample}-e{expression}",
            "bbox_id": None if box is None else f"s{sample}-e{expression}-b{box}",
            "mark": mark,
        }
        for (sample, expression, box), mark in marks.items()
    ]
    path = folder / "review.json"
    content = {"format": 1, "run": {"fingerprint": run}, "marks": items}
    if picks is not None:
        content["cards"] = [{"sample_id": f"s{i}", "picked": how} for i, how in picks.items()]
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(("boxes", "own", "meaning"), MEANINGS)
def test_meaning_of_marks(tmp_path, boxes, own, meaning):
    lines = [make_line(0, [("a dog", boxes)])]
    (record,) = Results(write_jsonl(tmp_path / "records.jsonl", lines)).records()
    marks = {(0, 0, box): mark for box, mark in own.items()} or {(1, 0, None): "good"}
    judgements = list(judgements_of(record, read_marks(review_file(tmp_path, marks))))
    if meaning is None:
        assert judgements == []
        return
    (judgement,) = judgements
    assert (judgement.phrase, judgement.missing, [good for *_, good in judgement.boxes]) == meaning


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the review"),
        ("{", "is not JSON"),
        ("[]", "is no review"),
        ('{"format": 2, "marks": []}', "is no review: format"),
        ('{"format": 1, "marks": []}', "holds no mark"),
        (
            '{"format": 1, "marks": [{"sample_id": "a", "expression_id": "b", "mark": "fine"}]}',
            "is no review: marks.0.mark",
        ),
    ],
)
def test_reviews_that_are_none(tmp_path, content, message):
    path = tmp_path / "review.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_marks(path)


@pytest.mark.parametrize(("content", "message"), [("{", "is not JSON"), (None, "no mark of")])
def test_script_takes_no_such_review(tmp_path, content, message):
    results = write_results(tmp_path, [make_line(0, [("a dog", [BOX])])])
    path = review_file(tmp_path, {(5, 0, None): "good"})
    if content:
        path.write_text(content)
    ran = run_script("inspect.py", str(results), "--review", str(path))
    assert ran.code == 2
    assert message in ran.err and "Traceback" not in ran.err


# --- figures and advice


def scored(number, score, box=BOX, text="a dog"):
    return make_line(number, [(text, [box], [score])])


def run_review(tmp_path, lines, marks, *arguments, picks=None, run="run", own=None):
    """Review of a run; ``picks`` says why each sample is in the report, None for no report.

    ``own`` says so in the review itself.
    """
    results = write_results(tmp_path, lines, images=False)
    if picks is not None:
        cards = [{"sample_id": f"s{i}", "picked": picked} for i, picked in picks.items()]
        report = {"format": 1, "run": {"fingerprint": "run"}, "cards": cards}
        (results / "report").mkdir()
        (results / "report" / "report.json").write_text(json.dumps(report))
    path = review_file(tmp_path, marks, run, own)
    return run_script("inspect.py", str(results), "--review", str(path), *arguments)


def test_precision_by_hand(tmp_path):
    """20 records: 16 good, 2 wrong boxes, 1 wrong phrase, 1 with an instance missing."""
    lines = [scored(i, 0.9 if i < 16 else 0.4) for i in range(20)]
    marks = {(i, 0, None): "good" for i in range(16)}
    marks |= {(16, 0, None): "wrong_box", (17, 0, 0): "wrong_box"}
    marks |= {(18, 0, None): "wrong_phrase", (19, 0, None): "missing"}
    found = run_review(tmp_path, lines, marks, picks=dict.fromkeys(range(20), "random")).json
    assert (found["boxes"]["good"], found["boxes"]["reviewed"]) == (17, 19)
    assert found["boxes"]["precision"] == pytest.approx(17 / 19, abs=1e-4)
    assert found["boxes"]["interval"] == [round(x, 4) for x in wilson_interval(17, 19)]
    assert (found["phrases"]["good"], found["phrases"]["reviewed"]) == (19, 20)
    assert (found["complete"]["good"], found["complete"]["reviewed"]) == (18, 19)
    bands = {name: (rate["good"], rate["reviewed"]) for name, rate in found["scores"].items()}
    assert bands == {"0.3-0.5": (1, 3), "0.9-1": (16, 16)}
    assert found["more"]["half_width"] == pytest.approx(0.025)
    assert found["more"]["boxes"] == trials_needed(17 / 19, 0.025) - 19
    more = {
        "phrases": trials_needed(19 / 20, 0.025) - 20,
        "boxes": trials_to_decide(17 / 19, 0.95) - 19,
    }
    assert (found["decision"], found["review_more"]) == ("review_more", more["phrases"])
    assert more["phrases"] > more["boxes"] * 20 / 19
    assert (found["basis"], found["random_cards_left"], found["warnings"]) == ("all", 0, [])


TINY = (50, 50, 54, 54)


@pytest.mark.parametrize("where", ["report", "review"])
def test_precision_is_of_random_cards_and_flags_of_all(tmp_path, where):
    lines = [scored(i, 0.9, TINY if i < 10 else BOX) for i in range(40)]
    lines.append(make_line(40, []))  # a card that holds nothing to be marked
    marks = {(i, 0, None): "wrong_box" if i < 10 else "good" for i in range(30)}
    picks = {i: "random" for i in (*range(9, 20), 35, *range(20, 30), 36, 40)}
    picks |= dict.fromkeys(range(9), "worst")
    if where == "report":
        ran = run_review(tmp_path, lines, marks, picks=picks)
    else:  # the report was made anew since, of one flag
        lies = dict.fromkeys(range(41), "only")
        ran = run_review(tmp_path, lines, marks, picks=lies, own=picks)
    found = ran.json
    assert (found["boxes"]["good"], found["boxes"]["reviewed"]) == (20, 21)
    assert (found["basis"], found["cards"], found["cards_picked"]) == ("random", 21, 9)
    assert "Precision on 21 random cards; 9 picked ones count for flags alone" in ran.err
    flagged = found["flags"]["tiny_box"]["boxes"]
    assert (flagged["good"], flagged["reviewed"]) == (0, 10)
    assert found["random_cards_left"] == 2
    assert "1 random cards were passed over" in ran.err  # 35; 36 was not come to yet


def read_review(tmp_path, lines, marks, picks=None):
    results = Results(write_results(tmp_path, lines, images=False))
    named = {f"s{i}": how for i, how in (picks or {}).items()}
    return review_run(results, read_marks(review_file(tmp_path, marks)), named)


@pytest.mark.parametrize("picks", [None, dict.fromkeys(range(40), "only"), {0: "worst"}])
def test_no_precision_without_random_cards(tmp_path, picks):
    lines = [scored(i, 0.9, TINY) for i in range(40)]
    ran = run_review(tmp_path, lines, {(i, 0, None): "good" for i in range(39)}, picks=picks)
    found = ran.json
    assert (found["basis"], found["cards"], found["cards_picked"]) == ("none", 0, 39)
    for name in ("boxes", "phrases"):
        assert (found[name]["precision"], found[name]["interval"]) == (None, None)
    assert (found["threshold"], found["scores"], found["areas"]) == (None, {}, {})
    assert found["flags"]["tiny_box"]["boxes"]["reviewed"] == 39
    assert (found["decision"], found["review_more"]) == ("review_more", 73)
    assert "No precision: 0 random cards" in ran.err and "No precision can be given" in ran.err


def test_a_review_of_every_record_needs_no_draw(tmp_path):
    lines = [scored(i, 0.9) for i in range(4)] + [make_line(4, []), scored(3, 0.9)]
    review = read_review(tmp_path, lines, {(i, 0, None): "good" for i in range(4)})
    assert (review.basis, review.figures.boxes, review.records) == ("all", Rate(4, 4), 4)


def test_a_card_marked_in_part_gives_a_caveat(tmp_path):
    lines = [make_line(0, [("a dog", [BOX]), ("a cat", [OTHER])])]
    review = read_review(tmp_path, lines, {(0, 0, None): "good"})
    assert "1 phrases of the reviewed cards have no mark" in " ".join(
        advise(review, 0.95, 0.025).sentences
    )


def test_a_flag_s_precision_is_of_its_boxes_alone(tmp_path):
    line = make_line(0, [("dogs", [BOX, TINY]), ("a cat", [OTHER])])
    marks = {(0, 0, 0): "good", (0, 0, 1): "wrong_box", (0, 1, None): "wrong_phrase"}
    flags = read_review(tmp_path, [line], marks).flags
    assert flags["tiny_box"] == (Rate(1, 1), Rate(0, 1))  # phrases, boxes


def test_threshold_keeps_what_it_says(tmp_path):
    """Wrong boxes all score below 0.6; three quarters of the whole data are above it."""
    lines = [scored(i, 0.5 + (i % 20) / 50 if i % 4 else 0.3) for i in range(200)]
    scores = [line["expressions"][0]["instances"][0]["score"] for line in lines]
    marks = {(i, 0, None): "good" if scores[i] >= 0.6 else "wrong_box" for i in range(160)}
    ran = run_review(tmp_path, lines, marks, picks=dict.fromkeys(range(160), "random"))
    threshold = ran.json["threshold"]
    kept = [score for score in scores if score >= threshold["score"]]
    assert threshold["share_kept"] == pytest.approx(len(kept) / 200)
    reviewed = [score for score in scores[:160] if score >= threshold["score"]]
    assert threshold["reviewed"] == len(reviewed)
    assert threshold["interval"][0] >= 0.95
    lower = max(score for score in scores[:160] if score < threshold["score"])
    below = [score for score in scores[:160] if score >= lower]
    assert wilson_interval(sum(score >= 0.6 for score in below), len(below))[0] < 0.95
    assert ran.json["decision"] == "scale_above_score"
    assert f"at least {threshold['score']:g}" in ran.err


@pytest.mark.parametrize(("low", "warned"), [(4, True), (10, False)])
def test_a_threshold_over_equal_scores_warns(tmp_path, low, warned):
    """All but the ``low`` wrong boxes of 100 score alike."""
    lines = [scored(i, 0.3 if i < low else 0.9) for i in range(100)]
    marks = {(i, 0, None): "wrong_box" if i < low else "good" for i in range(100)}
    ran = run_review(tmp_path, lines, marks, picks=dict.fromkeys(range(100), "random"))
    assert ran.json["threshold"]["score"] == 0.9
    advice = " ".join(ran.json["advice"])
    assert ("96% of the boxes have one and the same score" in advice) == warned
    assert ("Warning: " in ran.err) == warned


def test_no_threshold_without_scores(tmp_path):
    lines = [scored(i, None) for i in range(40)]
    review = read_review(tmp_path, lines, {(i, 0, None): "good" for i in range(40)})
    assert review.thresholds == ()
    assert review.figures.by_score[-1] == Rate(40, 40)


SMALL = (10, 10, 30, 30)
LOW = (200, 200, 260, 260)  # a box of a low score
ADVICE = [
    # good, wrong_box, wrong_phrase, missing; the wrong boxes; half-width; decision, words
    ((100, 0, 0, 0), BOX, 0.025, "scale", "in at least 95% of cases"),
    ((70, 0, 0, 30), BOX, 0.025, "scale", "miss an instance"),
    ((19, 1, 0, 0), BOX, 0.025, "review_more", "not known yet"),
    (
        (97, 3, 0, 0),
        BOX,
        0.025,
        "review_more",
        "has 5 of them; make a larger one with --sample 402",
    ),
    ((97, 3, 0, 0), BOX, 0.04, "scale", "at least 91.5% is certain"),
    ((94, 6, 0, 0), BOX, 0.05, "change", "measure the convention"),
    ((60, 40, 0, 0), BOX, 0.025, "change", "measure the convention"),
    ((60, 40, 0, 0), SMALL, 0.025, "change", "raise the resolution"),
    ((60, 0, 40, 0), BOX, 0.025, "change", "change step 0"),
    # Above 0.5 all of 60 are right: not yet for certain; nor are 80, of 100 they are.
    ((60, 40, 0, 0), LOW, 0.025, "review_more", "not known yet"),
    ((100, 40, 0, 0), LOW, 0.025, "scale_above_score", "100 of 100 such boxes"),
    ((40, 60, 0, 0), LOW, 0.025, "change", "measure the convention"),  # keeps too little
]


@pytest.mark.parametrize(("counts", "wrong", "half_width", "decision", "words"), ADVICE)
def test_advice(tmp_path, counts, wrong, half_width, decision, words):
    given = [mark for mark, n in zip(MARKS, counts, strict=True) for _ in range(n)]
    lines = [
        scored(i, 0.4 if mark == "wrong_box" and wrong is LOW else 0.9,
               wrong if mark == "wrong_box" else BOX)
        for i, mark in enumerate(given)
    ]  # fmt: skip
    lines += [scored(len(given) + i, 0.9) for i in range(450 if wrong is not LOW else 10)]
    marks = {(i, 0, None): mark for i, mark in enumerate(given)}
    review = read_review(tmp_path, lines, marks, dict.fromkeys(range(len(given) + 5), "random"))
    advice = advise(review, 0.95, half_width)
    assert advice.decision == decision
    assert (advice.cards > 0) == (decision == "review_more")
    assert words in " ".join(advice.sentences)


@pytest.mark.parametrize("good", [0.5, 0.9, 0.94, 0.95, 0.96, 0.97, 0.985, 1.0])
def test_reviewing_what_is_asked_for_ends(tmp_path, good):
    """Whatever the precision is, in a few rounds, with the right answer where it is clear."""
    total, rounds, advice = 10, 0, None
    while advice is None or advice.decision is Decision.REVIEW_MORE:
        figures = Figures(cards=total, phrases=Rate(total, total), boxes=Rate(0, 0))
        figures.boxes = Rate(round(good * total), total)
        review = Review(Basis.RANDOM, figures, figures, {}, (), 0, 0, 0, 10**6)
        advice = advise(review, 0.95, 0.025)
        total, rounds = total + advice.cards, rounds + 1
        assert rounds < 12 and total < 700
    if abs(good - 0.95) > 0.005:
        assert advice.decision == ("scale" if good > 0.95 else "change")


def test_a_threshold_at_the_target_asks_for_a_bounded_review():
    above = Threshold(0.5, Rate(95, 100), 0.7, 0.7)  # its bound would take for ever
    figures = Figures(cards=140, phrases=Rate(140, 140), boxes=Rate(95, 140))
    review = Review(Basis.RANDOM, figures, figures, {}, (above,), 0, 0, 0, 10**6)
    advice = advise(review, 0.95, 0.025)
    assert advice.decision == "review_more"
    assert advice.cards == math.ceil((trials_needed(0.95, 0.025) - 100) / 0.7)
    known = Threshold(0.5, Rate(950, 1000), 0.7, 0.7)
    review = Review(Basis.RANDOM, figures, figures, {}, (known,), 0, 0, 0, 10**6)
    assert advise(review, 0.95, 0.025).decision == "change"


@pytest.mark.parametrize(("mark", "code"), [("good", 0), ("wrong_box", 3)])
def test_gate(tmp_path, mark, code):
    lines = [scored(i, 0.9) for i in range(100)]
    marks = {(i, 0, None): mark for i in range(100)}
    ran = run_review(tmp_path, lines, marks, "--gate", picks=dict.fromkeys(range(100), "random"))
    assert ran.code == ran.json["exit_code"] == code


def test_review_of_another_run_gives_a_warning(tmp_path):
    lines = [scored(0, 0.9)]
    marks = {(0, 0, None): "good", (5, 0, None): "good"}
    ran = run_review(tmp_path, lines, marks, picks={0: "random"}, run="another")
    assert ran.code == 0
    assert len(ran.json["warnings"]) == 2
    assert "another results folder" in ran.err and "1 expressions are not there" in ran.err


def test_marks_do_not_count_for_boxes_that_changed(tmp_path):
    """As the page wrote them: the run was done anew since, and one box moved."""
    lines = [scored(i, 0.9) for i in range(3)]
    results = Results(write_results(tmp_path, lines))
    path = review_file(tmp_path, {(i, 0, None): "good" for i in range(3)})
    review = json.loads(path.read_text())
    for mark, record in zip(review["marks"], results.records(), strict=True):
        mark["digest"] = digest_of(record, 0)
    path.write_text(json.dumps(review))
    lines[1]["expressions"][0]["instances"][0]["bbox"] = [*BOX[:3], 201]
    lines[2]["expressions"][0]["instances"][0]["score"] = 0.4  # is no part of what was judged
    write_jsonl(results.file, lines)
    found = review_run(results, read_marks(path), {f"s{i}": "random" for i in range(3)})
    assert (found.figures.boxes, found.unknown_marks) == (Rate(2, 2), 1)


def test_from_a_real_report(tmp_path):
    """The sample of a report, reviewed as its page would."""
    lines = [scored(i, 0.9) for i in range(30)]
    results = write_results(tmp_path, lines)
    assert run_script("inspect.py", str(results), "--sample", "20").code == 0
    report = json.loads((results / "report" / "report.json").read_text())
    shown = [card["index"] for card in report["cards"]]
    path = review_file(
        tmp_path, {(i, 0, None): "good" for i in shown}, report["run"]["fingerprint"]
    )
    ran = run_script("inspect.py", str(results), "--review", str(path), "--target", "0.8")
    assert ran.json["basis"] == "random" and ran.json["warnings"] == []
    assert ran.json["boxes"]["reviewed"] == ran.json["cards"] == 20
    assert ran.json["decision"] == "scale"
