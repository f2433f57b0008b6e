# SPDX-License-Identifier: Apache-2.0
"""The report page in a real browser: what it shows, what it keeps, and what it never runs."""

import io
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from playwright.sync_api import expect

from image_grounding.boxes.frames import Transport
from image_grounding.errors import OutputError
from image_grounding.images.pixels import open_upright
from image_grounding.inspection.model import Chart, Finding, Flag, KeptReply, Level, Picked
from image_grounding.inspection.page import run_identity, write_page
from image_grounding.inspection.page.diff import word_diff
from image_grounding.inspection.page.thumbnails import make_thumbnails
from support.browser import opened
from support.inspections import Phrase, make_card, make_inspection
from support.scenes import COLOURS, make_scene

browser_test = pytest.mark.browser

HOSTILE = [
    "<img src=x onerror=window.pwned=1>",
    "</script><script>window.pwned=1</script>",
    "<!--<script>",
    "line\u2028and\u2029paragraph",
    "{{ 7 * 7 }} {% raw %} ${window.pwned=1}",
    "' onclick='window.pwned=1' \"><svg onload=window.pwned=1>",
    "قطة صغيرة \u202eتنظر\u202c إلى الكاميرا",
    "一只“橘猫”{看着}镜头, she said \"{hi}\" \\u0041",
    "👩‍🚀 an astronaut 𐐷🚀 and\ta tab",
    "javascript:window.pwned=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def review(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of three cards; the first has two phrases, one of them with two boxes."""
    tmp_path = tmp_path_factory.mktemp("review")
    scene = make_scene((640, 480), seed=1)
    (first, box), (second, other), (third, last) = scene.boxes
    picture = scene.save(tmp_path / "b.png")
    smaller = make_scene((300, 400), seed=2).save(tmp_path / "a.png")
    cards = [
        make_card(
            0, picture, scene.size, f"A {first} thing and a {second} thing",
            [
                Phrase(f"A {first} thing", [(box, 0.9), (last, 0.3)]),
                Phrase(f"a {second} thing", [(other, 0.6)]),
            ],
            [Flag("tiny_box", "0.01 %", 0, (1,))],
            caption=f"We see A {first} thing and a {second} thing",
        ),
        make_card(
            1, smaller, (300, 400), "A box", [Phrase("A box", [((30, 40, 200, 300), None)])]
        ),
        make_card(
            2, picture, scene.size, f"A {third} thing near nothing",
            [Phrase(f"A {third} thing", [(last, 0.2)]), Phrase("nothing")],
            [Flag("ungrounded", "no box", 1), Flag("tiny_box", "0.02 %", 0, (0,))],
        ),
    ]  # fmt: skip
    cards[2] = replace(cards[2], picked=Picked.WORST, because="its flags weigh most")
    path = tmp_path / "report" / "index.html"
    write_page(make_inspection(cards), path)
    return path


def download(page: Any) -> dict[str, Any]:
    with page.expect_download() as waiting:
        page.click("#download")
    assert waiting.value.suggested_filename == "review.json"
    found: dict[str, Any] = json.loads(Path(waiting.value.path()).read_text(encoding="utf-8"))
    return found


def marks_in(review: dict[str, Any]) -> list[tuple[str, str | None, str]]:
    return [(mark["expression_id"], mark["bbox_id"], mark["mark"]) for mark in review["marks"]]


def press(page: Any, keys: str) -> None:
    for key in keys.split():
        page.keyboard.press(key)


def visible_boxes(page: Any) -> list[str]:
    """The boxes of the first card that can be seen, as expression/box."""
    found: list[str] = page.eval_on_selector_all(
        "#cards article:first-child .line",
        "all => all.filter(node => getComputedStyle(node).visibility === 'visible')"
        ".map(node => `${node.dataset.e}/${node.dataset.b}`).sort()",
    )
    return found


# -- what anybody wrote --------------------------------------------------------------------------


@browser_test
def test_hostile_text_is_shown_as_it_is_and_runs_nothing(tmp_path, browser):
    picture = make_scene((64, 48)).save(tmp_path / "x.png")
    cards = [
        make_card(
            number, picture, (64, 48), text,
            [Phrase(text, [((1, 2, 30, 40), 0.5)]), Phrase(f"{text} elsewhere")],
            [Flag("tiny_box", text, 0)], caption=f"{text} !", image_path=text,
        )
        for number, text in enumerate(HOSTILE)
    ]  # fmt: skip
    together = " ".join(HOSTILE)
    inspection = make_inspection(
        cards,
        verdict="pass",
        headline=together,
        facts=((together, together),),
        counts={together: 1},
        failures={"1": {together: 1}},
        findings=(Finding(together, Level.FAIL, together, together),),
        charts=(Chart(together, ((together, 1),)),),
        summary={"results_dir": together},
    )
    path = tmp_path / "index.html"
    write_page(inspection, path)
    with opened(browser, path) as page:
        page.locator("article").evaluate_all(
            "async all => { for (const node of all) {"
            " node.scrollIntoView(); await new Promise(requestAnimationFrame); } }"
        )
        expect(page.locator("article .view")).to_have_count(len(HOSTILE))

        def texts(selector: str) -> list[str]:
            found: list[str] = page.eval_on_selector_all(
                selector, "all => all.map(node => node.textContent)"
            )
            return found

        assert texts("article .caption") == HOSTILE
        assert texts("article .path") == HOSTILE
        assert texts("article .row:first-child bdi") == HOSTILE
        assert texts("article .flag .detail") == HOSTILE
        # Spans count code points: each phrase of a caption is all of it.
        assert texts("article .caption [data-e='0']") == HOSTILE
        assert texts("h1 span:last-child") == [together]
        for selector in (".facts dd", ".finding strong", ".remedy", ".eyebrow bdi"):
            assert texts(selector) == [together]
        page.hover("article:first-child .flag")
        page.wait_for_timeout(50)
        assert page.evaluate("window.pwned") is None
        assert page.evaluate("document.scripts.length") == 2


def test_what_utf8_cannot_hold_still_makes_a_page(tmp_path):
    picture = make_scene((64, 48)).save(tmp_path / "x.png")
    card = make_card(0, picture, (64, 48), "a \ud800 b", [Phrase("\ud800")])
    path = tmp_path / "index.html"
    write_page(make_inspection([card], verdict="pass", headline="bad \udfff text"), path)
    assert "bad ? text" in path.read_text(encoding="utf-8")


@browser_test
def test_spans_that_nest_and_overlap(tmp_path, browser):
    picture = make_scene((64, 48)).save(tmp_path / "x.png")
    caption = "👩‍🚀 the old cup of hot tea here"
    nested = ["the old cup of hot tea", "old cup of", "cup of hot tea"]
    phrases = [Phrase(text) for text in nested]
    phrases.append(Phrase("tea here and beyond", span=(caption.index("tea"), len(caption) + 9)))
    path = tmp_path / "index.html"
    write_page(make_inspection([make_card(0, picture, (64, 48), caption, phrases)]), path)
    with opened(browser, path) as page:
        page.wait_for_selector(".caption")
        joined = page.evaluate(
            """() => [0, 1, 2, 3].map(e =>
                 [...document.querySelectorAll(`.caption [data-e="${e}"]`)]
                 .map(node => node.textContent).join(""))"""
        )
        assert joined == [*nested, "tea here"]
        assert page.text_content(".caption") == caption


@browser_test
def test_what_the_model_said_is_shown_on_demand_and_runs_nothing(tmp_path, browser):
    picture = make_scene((64, 48)).save(tmp_path / "x.png")
    card = make_card(0, picture, (64, 48), "a cat", [Phrase("a cat")])
    silent = replace(card, index=1)
    card = replace(card, replies=tuple(KeptReply("1", text) for text in HOSTILE))
    path = tmp_path / "index.html"
    write_page(make_inspection([card, silent]), path)
    with opened(browser, path) as page:
        first, second = page.locator("article").nth(0), page.locator("article").nth(1)
        second.locator(".view").wait_for()
        assert second.locator(".replies").count() == 0
        assert not first.locator(".replies pre").first.is_visible()
        first.locator(".replies summary").click()
        expect(first.locator(".replies pre").first).to_be_visible()
        assert [node.text_content() for node in first.locator(".replies pre").all()] == HOSTILE
        assert set(first.locator(".replies .label").all_text_contents()) == {"step 1"}
        page.keyboard.press("z")  # the larger view has room for the picture
        assert page.locator("#zoom .replies").count() == 0
        assert page.evaluate("window.pwned") is None


@browser_test
def test_why_a_phrase_has_no_box(tmp_path, browser):
    picture = make_scene((64, 48)).save(tmp_path / "x.png")
    card = make_card(0, picture, (64, 48), "a cat, a dog", [Phrase("a cat"), Phrase("a dog")])
    card.record.fields["expressions"][1]["status"] = "absent"
    step_0 = replace(card, index=1, record=replace(card.record, grounded=False))
    path = tmp_path / "index.html"
    write_page(make_inspection([card, step_0]), path)
    with opened(browser, path) as page:
        page.locator("article").nth(1).locator(".view").wait_for()
        assert page.locator("article .none").all_text_contents() == [
            "no box", "absent: the model looked and saw none", *["not grounded yet"] * 2,
        ]  # fmt: skip


# -- pictures and boxes --------------------------------------------------------------------------


def pixels(page: Any) -> np.ndarray:
    data = page.locator("article .picture").screenshot(animations="disabled")
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=np.int16)


def bounds(mask: np.ndarray) -> np.ndarray:
    ys, xs = np.nonzero(mask)
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])


@browser_test
@pytest.mark.parametrize(("orientation", "width"), [(1, 1400), (6, 1000), (8, 390)])
def test_box_is_drawn_around_what_it_is_the_box_of(tmp_path, browser, orientation, width):
    scene = make_scene((900, 500), seed=3)
    photo = scene.save(tmp_path / "scene.jpg", orientation)
    phrases = [Phrase(name, [(box, 0.5)]) for name, box in scene.boxes]
    card = make_card(0, photo, scene.size, scene.caption, phrases)
    path = tmp_path / "index.html"
    write_page(make_inspection([card]), path)
    with opened(browser, path, width=width, height=900) as page:
        page.wait_for_selector(".picture img")
        page.eval_on_selector(".tags", "tags => { tags.style.visibility = 'hidden'; }")
        shown = []  # each phrase's box alone
        for number in range(len(scene.boxes)):
            page.locator(".row .phrase").nth(number).focus()
            shown.append(pixels(page))
        bare = np.median(shown, axis=0)  # no two boxes touch
        for picture, (name, _) in zip(shown, scene.boxes, strict=True):
            drawn = bounds(np.abs(picture - bare).sum(axis=2) > 30)
            true = bounds(np.abs(bare - COLOURS[name]).sum(axis=2) < 90)
            edge = np.array([-1, -1, 1, 1]) * 2.25  # half of the line with its dark edge
            assert np.abs(drawn - (true + edge)).max() <= 2, name


@browser_test
def test_no_picture(tmp_path, browser):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 no picture")
    phrases = [Phrase("a cup", [((1, 1, 50, 50), 0.5)])]
    cards = [
        make_card(0, tmp_path / "gone.jpg", (100, 100), "a cup", phrases),
        make_card(1, broken, (100, 100), "a cup", phrases),
    ]
    path = tmp_path / "index.html"
    write_page(make_inspection(cards), path)
    with opened(browser, path) as page:
        expect(page.locator(".placeholder")).to_have_count(2)
        gone, undecodable = page.locator(".placeholder").all_text_contents()
        assert "no such image" in gone
        assert "cannot decode" in undecodable
        assert page.locator(".line").count() == 2


# -- reviewing -----------------------------------------------------------------------------------


@browser_test
def test_review_by_keyboard(review, browser):
    with opened(browser, review) as page:
        assert page.text_content("#reviewed") == "0 of 3 reviewed, 0 of 2 random"
        press(page, "1")  # leads to the first card, before it marks
        assert page.text_content("article.current .order") == "1"
        assert marks_in(download(page)) == []
        press(page, "n 1 n 2 j 1 j 4 n 3 b n b")  # b on a phrase without a box does nothing
        assert page.text_content("#reviewed") == "3 of 3 reviewed, 2 of 2 random"
        press(page, "k k n b b 2")
        found = download(page)
        assert found["format"] == 1
        assert found["run"]["results"] == "/data/run"
        assert len(found["run"]["fingerprint"]) == 20
        assert {mark["sample_id"] for mark in found["marks"]} == {"s0", "s1", "s2"}
        assert marks_in(found) == [
            ("s0-e0", None, "good"),
            ("s0-e0", "s0-e0-b1", "wrong_box"),
            ("s0-e1", None, "wrong_box"),
            ("s1-e0", None, "good"),
            ("s2-e0", None, "wrong_phrase"),
            ("s2-e1", None, "missing"),
        ]

        page.reload()
        assert page.text_content("#reviewed") == "3 of 3 reviewed, 2 of 2 random"
        assert marks_in(download(page)) == marks_in(found)

        press(page, "j ArrowRight u Escape j 0")
        assert page.text_content("#reviewed") == "1 of 3 reviewed, 0 of 2 random"
        assert marks_in(download(page)) == [
            ("s0-e1", None, "wrong_box"),
            ("s2-e0", None, "wrong_phrase"),
            ("s2-e1", None, "missing"),
        ]


@browser_test
def test_review_by_pointer_and_load(review, browser, tmp_path):
    with opened(browser, review) as page:
        first = page.locator("article").first
        first.get_by_role("button", name="wrong phrase").first.click()
        first.locator(".score").nth(1).click()
        first.get_by_role("button", name="wrong box").first.click()  # of the box that was chosen
        found = download(page)
        assert marks_in(found) == [
            ("s0-e0", None, "wrong_phrase"),
            ("s0-e0", "s0-e0-b1", "wrong_box"),
        ]
        first.get_by_role("button", name="wrong box").first.click()  # again takes it back
        assert marks_in(download(page)) == [("s0-e0", None, "wrong_phrase")]

    given = tmp_path / "given.json"
    other = {"sample_id": "s9", "expression_id": "s9-e0", "bbox_id": None, "mark": "good"}
    odd = {**found["marks"][0], "mark": "<b>"}
    given.write_text(json.dumps({**found, "marks": [*found["marks"], other, odd]}))
    with opened(browser, review) as page:  # another profile, that knows no mark
        assert marks_in(download(page)) == []
        page.set_input_files("#load", given)
        expect(page.locator("#reviewed")).to_contain_text("loaded")
        assert marks_in(download(page)) == marks_in(found)
        given.write_text("no json")
        page.set_input_files("#load", given)
        expect(page.locator("#reviewed")).to_contain_text("no rev")


@browser_test
def test_marks_belong_to_the_boxes_that_were_seen(tmp_path, browser):
    picture = make_scene((64, 48)).save(tmp_path / "x.png")
    path, kept = tmp_path / "index.html", tmp_path / "review.json"

    def write(box: tuple[int, int, int, int], more: int) -> None:
        cards = [
            make_card(number, picture, (64, 48), "a cup", [Phrase("a cup", [(box, 0.5)])])
            for number in range(more)
        ]
        teacher = {"model": "test-vlm", "convention_iou": more / 10}  # as each run measures it
        summary = {"results_dir": "/data/run", "teacher": teacher}
        write_page(make_inspection(cards, summary=summary), path)

    write((1, 1, 30, 30), 1)
    with opened(browser, path) as page:
        press(page, "j 1")
        kept.write_text(json.dumps(download(page)))
        write((1, 1, 30, 30), 2)  # more samples of the same run
        page.reload()
        assert page.text_content("#reviewed") == "1 of 2 reviewed"
        write((1, 1, 30, 31), 2)  # another answer
        page.reload()
        assert page.text_content("#reviewed") == "0 of 2 reviewed"
        page.set_input_files("#load", kept)
        expect(page.locator("#reviewed")).to_contain_text("0 marks loaded")


@browser_test
def test_a_browser_that_keeps_nothing_says_so(review, browser):
    with opened(browser, review) as page:
        page.evaluate("() => { Storage.prototype.setItem = () => { throw new Error('full'); }; }")
        press(page, "j 1")
        assert "keeps no marks" in page.text_content("#reviewed")
        assert marks_in(download(page)) == [("s0-e0", None, "good"), ("s0-e1", None, "good")]


# -- looking -------------------------------------------------------------------------------------


@browser_test
def test_a_phrase_shows_its_boxes_alone(review, browser):
    with opened(browser, review) as page:
        every = ["0/0", "0/1", "1/0"]
        first = page.locator("article").first
        assert visible_boxes(page) == every
        first.locator(".caption [data-e='1']").hover()
        assert visible_boxes(page) == ["1/0"]
        page.hover("h1")
        assert visible_boxes(page) == every
        first.locator(".phrase").first.focus()
        assert visible_boxes(page) == ["0/0", "0/1"]
        page.keyboard.press("Escape")
        assert visible_boxes(page) == every
        first.locator(".caption [data-e='0']").click()
        page.hover("h1")
        assert visible_boxes(page) == ["0/0", "0/1"]
        first.locator(".caption [data-e='0']").click()
        page.hover("h1")
        assert visible_boxes(page) == every
        first.locator(".tag[data-e='1']").click()
        page.hover("h1")
        assert visible_boxes(page) == ["1/0"]


@browser_test
def test_larger_view(review, browser):
    with opened(browser, review) as page:
        width = page.locator("article .picture").first.bounding_box()["width"]
        page.locator("article .picture").first.click(position={"x": 3, "y": 3})
        assert page.locator("#zoom .picture").bounding_box()["width"] > 1.2 * width
        press(page, "n 1 j")
        assert page.text_content("#zoom .path") == "a.png"
        press(page, "2 Escape")
        assert not page.locator("#zoom").is_visible()
        assert marks_in(download(page)) == [("s0-e0", None, "good"), ("s1-e0", None, "wrong_box")]
        press(page, "z")
        assert page.text_content("#zoom .path") == "a.png"
        press(page, "z ?")
        assert page.locator("#keys").is_visible()


@browser_test
def test_what_cleaning_changed_and_what_a_flag_means(review, browser):
    with opened(browser, review) as page:
        first, second = page.locator("article").nth(0), page.locator("article").nth(1)
        expect(first.locator(".diff del")).to_have_text(["We see "])
        assert first.locator(".diff ins").count() == 0
        assert second.locator(".diff").text_content() == "Cleaning changed nothing."
        first.locator(".flag").hover()
        assert page.text_content("#tip") == "The box is tiny.\n0.01 %\nSend larger images."
        assert page.locator("#tip").is_visible()
        page.hover("h1")
        assert not page.locator("#tip").is_visible()


FILTERS = [
    ("#flag", "tiny_box", [1, 3]),
    ("#flag", "ungrounded", [3]),
    ("#flag", "-", [2]),
    ("#flag", "", [1, 2, 3]),
    ("#text", "NEAR nothing", [3]),
    ("#text", "we see a", [1]),
    ("#text", "a.png", [2]),
    ("#text", "no such words", []),
    ("#text", "", [1, 2, 3]),
    ("#low", "0.5", [1]),
    ("#low", "", [1, 2, 3]),
    ("#high", "0.25", [3]),
    ("#high", "", [1, 2, 3]),
    ("#marked", "open", [1, 3]),
    ("#marked", "done", [2]),
    ("#marked", "", [1, 2, 3]),
    ("#picked", "random", [1, 2]),
    ("#picked", "other", [3]),
    ("#picked", "", [1, 2, 3]),
    ("#sort", "worst", [3, 1, 2]),
    ("#sort", "low", [3, 1, 2]),
    ("#sort", "high", [1, 3, 2]),
    ("#sort", "name", [2, 1, 3]),
    ("#sort", "order", [1, 2, 3]),
]


@browser_test
def test_filters_and_orders(review, browser):
    with opened(browser, review) as page:
        press(page, "j j 1")
        found = []
        for field, value, _ in FILTERS:
            if field in ("#flag", "#picked", "#marked", "#sort"):
                page.select_option(field, value)
            else:
                page.fill(field, value)
            numbers, nothing = page.evaluate(
                "() => [[...document.querySelectorAll('article')]"
                ".map(node => Number(node.getAttribute('aria-label').slice(5))),"
                " document.getElementById('nothing').checkVisibility()]"
            )
            assert nothing == (not numbers)
            found.append((field, value, numbers))
        assert found == FILTERS
        press(page, "Escape /")
        assert page.evaluate("document.activeElement.id") == "text"


@browser_test
def test_flag_of_the_overview_filters(review, browser):
    with opened(browser, review) as page:
        page.get_by_role("button", name="ungrounded").first.click()
        assert page.locator("article").count() == 1
        assert page.text_content("#shown") == "1 of 3 shown"


@browser_test
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dark_and_light(review, browser, scheme):
    with opened(browser, review, color_scheme=scheme) as page:

        def is_dark() -> bool:
            colour = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
            return sum(int(part) for part in colour[4:-1].split(",")[:3]) < 300

        assert is_dark() == (scheme == "dark")
        page.click("#theme")
        assert is_dark() == (scheme == "light")
        page.reload()
        assert is_dark() == (scheme == "light")
        page.click("#theme")
        assert is_dark() == (scheme == "dark")


@browser_test
@pytest.mark.parametrize("width", [1400, 1000, 390])
def test_nothing_sticks_out_and_a_phone_has_all_but_unfolded_charts(review, browser, width):
    with opened(browser, review, width=width, height=800) as page:
        page.wait_for_selector("article .view")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.locator(".toolbar label.button").is_visible()  # loads a review
        assert page.locator(".charts").is_visible() == (width > 390)
        if width == 390:
            page.click("#charts summary")
            assert page.locator(".charts").is_visible()
            assert page.evaluate("document.documentElement.scrollWidth") == width
        press(page, "j z")
        assert page.evaluate("document.getElementById('zoom').scrollWidth") <= width


@browser_test
def test_random_cards_differ_from_picked_ones(review, browser):
    with opened(browser, review) as page:
        assert "2 drawn at random" in page.text_content(".drawn")
        press(page, "j j j")
        why = page.locator("article .why").all_text_contents()
        assert why == [*["random sample"] * 2, "picked because: its flags weigh most"]
        found = download(page)["cards"]
        assert found == [
            {"sample_id": "s0", "picked": "random"},
            {"sample_id": "s1", "picked": "random"},
            {"sample_id": "s2", "picked": "worst"},
        ]


@browser_test
@pytest.mark.parametrize(("width", "height"), [(1400, 800), (390, 800)])
def test_picture_of_a_long_caption_stays_in_view(tmp_path, browser, width, height):
    scene = make_scene((640, 480), seed=1)
    picture = scene.save(tmp_path / "x.png")
    caption = " ".join(f"A red thing number {n} with words around it." for n in range(40))
    phrases = [Phrase(f"A red thing number {n}") for n in range(40)]
    path = tmp_path / "index.html"
    cards = [make_card(n, picture, scene.size, caption, phrases) for n in range(2)]
    write_page(make_inspection(cards), path)
    with opened(browser, path, width=width, height=height) as page:
        press(page, "j")
        row = page.locator("article:first-child .row").nth(30)
        row.evaluate("row => row.scrollIntoView({block: 'end'})")
        box = page.locator("article:first-child .picture").bounding_box()
        bar = page.locator(".toolbar").bounding_box()
        assert bar["y"] + bar["height"] <= box["y"]
        assert box["y"] + box["height"] <= height
        assert box["y"] < row.bounding_box()["y"] < height


@browser_test
def test_names_tags_and_box_numbers(tmp_path, browser):
    picture = make_scene((640, 480)).save(tmp_path / "x.png")
    small, low, large = (300, 200, 340, 230), (400, 0, 440, 20), (20, 60, 300, 400)
    phrases = [Phrase("a cup", [(small, 0.5), (low, 0.5)]), Phrase("a cat", [(large, 0.5)])]
    cards = [
        make_card(n, picture, (640, 480), "a cup, a cat", phrases, image_path=f"img{name}.png")
        for n, name in enumerate([10, 2, 1])
    ]
    path = tmp_path / "index.html"
    write_page(make_inspection(cards), path)
    with opened(browser, path) as page:
        page.select_option("#sort", "name")
        for _ in range(3):
            press(page, "j")
        paths = page.locator("article .path").all_text_contents()
        assert paths == ["img1.png", "img2.png", "img10.png"]
        labels = page.locator("article:first-child .score").evaluate_all(
            "all => all.map(node => node.getAttribute('aria-label').split(',')[0])"
        )
        assert labels == [
            "box 1 of the 2 of phrase 1", "box 2 of the 2 of phrase 1",
            "box 1 of the 1 of phrase 2",
        ]  # fmt: skip
        box = page.locator("article:first-child .picture").bounding_box()
        scale = box["width"] / 640
        tags = page.locator("article:first-child .tag")
        spans = [tags.nth(n).bounding_box() for n in range(3)]
        tops = [(span["y"] - box["y"]) / scale for span in spans]
        bottoms = [top + span["height"] / scale for top, span in zip(tops, spans, strict=True)]
        assert bottoms[0] <= small[1] + 1 and tops[1] >= low[3] - 1  # above, and below
        assert tops[2] == pytest.approx(large[1], abs=1)


# -- size ----------------------------------------------------------------------------------------


@browser_test
def test_hundreds_of_cards(tmp_path, browser):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    picture = tmp_path / "noise.bmp"
    Image.fromarray(noise).save(picture)
    cards = []
    caption = "A cup of coffee stands near a spoon on a table of old dark wood. " * 4
    for number in range(300):
        own = tmp_path / f"{number}.bmp"
        os.link(picture, own)
        phrases = [Phrase("A cup of coffee", [((5, 5, 45, 45), number / 300)]), Phrase("a spoon")]
        cards.append(make_card(number, own, (64, 64), caption, phrases))
    path = tmp_path / "index.html"
    write_page(make_inspection(cards), path)
    assert 1_000_000 < path.stat().st_size < 2_000_000
    with opened(browser, path) as page:
        assert page.locator("article").count() == 300
        assert 0 < page.locator("article .view").count() < 30
        page.select_option("#sort", "high")
        press(page, "j")
        assert page.text_content("article.current .path") == "299.bmp"
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        page.wait_for_selector("article:last-child .view")
        decoded = "img => img.decode().then(() => img.naturalWidth)"
        assert page.eval_on_selector("article:last-child img", decoded) > 50
        assert page.locator("article .view").count() < 60


@pytest.mark.parametrize("budget", [1_000_000, 100_000, 30_000, 500])
def test_thumbnails_keep_to_their_budget(tmp_path, budget):
    noise = np.random.default_rng(0)
    paths = []
    for number, size in enumerate([(400, 300), (30, 1500), (20_000, 3), (64, 64)]):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(noise.integers(0, 255, (*size[::-1], 3), dtype=np.uint8)).save(paths[-1])
    made = make_thumbnails([*paths, *paths], budget)
    assert list(made) == paths
    assert sum(len(thumbnail.url or "") for thumbnail in made.values()) <= budget
    if budget > 500:
        assert all(thumbnail.url for thumbnail in made.values())
    else:
        assert "small" in made[paths[0]].problem


@pytest.mark.parametrize("orientation", range(1, 9))
def test_open_upright(tmp_path, orientation):
    scene = make_scene((400, 300), seed=1)
    image = open_upright(scene.save(tmp_path / "x.png", orientation), Transport(30_000))
    assert image.size == (200, 150)
    for name, (x1, y1, x2, y2) in scene.boxes:
        pixel = image.getpixel(((x1 + x2) // 4, (y1 + y2) // 4))
        assert np.abs(np.array(pixel) - COLOURS[name]).max() < 20


# -- parts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "pieces"),
    [
        ("same words", "same words", [("=", "same words")]),
        ("We see a cat.", "A cat.", [("-", "We see a"), ("+", "A"), ("=", " cat.")]),
        ("图片中有一只猫", "一只猫", [("-", "图片中有"), ("=", "一只猫")]),
        ("a " * 3000, "b", [("-", "a " * 3000), ("+", "b")]),
        ("", "new", [("+", "new")]),
    ],
)
def test_word_diff(before, after, pieces):
    assert word_diff(before, after) == pieces


@given(*[st.text("ab \n.,一二ก", max_size=30)] * 2)
def test_word_diff_loses_nothing(before, after):
    pieces = word_diff(before, after)
    assert "".join(text for kind, text in pieces if kind != "+") == before
    assert "".join(text for kind, text in pieces if kind != "-") == after


def test_identity_is_of_the_results_folder_and_not_of_the_sample_or_the_run():
    inspection = make_inspection([])
    run = {**inspection.summary, "teacher": {"convention_iou": 0.9}, "counts": {"annotated": 60}}
    same = replace(inspection, cards=(), headline="other", sampled_from=1, summary=run)
    assert run_identity(same) == run_identity(inspection)
    relative = {**run, "results_dir": "run", "working_folder": "/data"}
    same = replace(inspection, summary=relative)
    assert run_identity(same)["fingerprint"] == run_identity(inspection)["fingerprint"]
    others = [
        replace(inspection, step="0"),
        replace(inspection, summary={**run, "results_dir": "/data/other"}),
        replace(inspection, summary={**relative, "working_folder": "/data/other"}),
        replace(inspection, summary={}),
    ]
    assert len({run_identity(item)["fingerprint"] for item in [inspection, *others]}) == 5


def test_page_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_page(make_inspection([]), tmp_path / "file" / "index.html")
