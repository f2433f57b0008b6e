# SPDX-License-Identifier: Apache-2.0
import itertools
import math
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_grounding.boxes.frames import CONVENTIONS, Frame, Transport, fit_size, round_size
from image_grounding.boxes.geometry import (
    box_area,
    box_iou,
    clip_box,
    order_corners,
    reaches_beyond,
    to_original,
)
from support.model import server_size

SIDE = st.integers(1, 12_000)
SIZE = st.tuples(SIDE, SIDE)
QUICK = settings(max_examples=100)


def like_a_photo(size: tuple[int, int]) -> bool:
    """What servers of the Qwen-VL family take: no side over 200 times the other."""
    return max(size) <= 200 * min(size)


# --- conventions, with truths worked out by hand

PHOTO = Frame(original=(4032, 3024), sent=(1008, 756))  # a quarter
TALL = Frame(original=(300, 900), sent=(300, 900))
SMALL = Frame(original=(100, 50), sent=(200, 100))  # enlarged on the way
ODD = Frame(original=(1000, 500), sent=(1000, 500))  # the server makes it 1008x504
QWEN3 = Frame(original=(640, 320), sent=(640, 320), resize_multiple=32)

KNOWN = [
    # convention, frame, the model's numbers, pixels as sent, box in the original
    ("norm1000_xyxy", PHOTO, (250, 500, 750, 1000), (252, 378, 756, 756), (1008, 1512, 3024, 3024)),
    ("norm1000_yxyx", PHOTO, (500, 250, 1000, 750), (252, 378, 756, 756), (1008, 1512, 3024, 3024)),
    ("norm1_xyxy", PHOTO, (0.25, 0.5, 0.75, 1.0), (252, 378, 756, 756), (1008, 1512, 3024, 3024)),
    ("pixel_sent", PHOTO, (252, 378, 756, 756), (252, 378, 756, 756), (1008, 1512, 3024, 3024)),
    ("pixel_resized", PHOTO, (252, 378, 756, 756), (252, 378, 756, 756), (1008, 1512, 3024, 3024)),
    ("norm1000_xyxy", TALL, (100, 100, 200, 200), (30, 90, 60, 180), (30, 90, 60, 180)),
    ("norm1000_yxyx", TALL, (100, 100, 200, 200), (30, 90, 60, 180), (30, 90, 60, 180)),
    ("norm1000_yxyx", TALL, (0, 500, 1000, 1000), (150, 0, 300, 900), (150, 0, 300, 900)),
    ("norm1_xyxy", TALL, (0, 0.5, 0.5, 1), (0, 450, 150, 900), (0, 450, 150, 900)),
    ("pixel_sent", SMALL, (20, 40, 120, 100), (20, 40, 120, 100), (10, 20, 60, 50)),
    ("norm1000_xyxy", SMALL, (100, 400, 600, 1000), (20, 40, 120, 100), (10, 20, 60, 50)),
    ("pixel_resized", ODD, (504, 252, 1008, 504), (500, 250, 1000, 500), (500, 250, 1000, 500)),
    ("pixel_sent", ODD, (504, 252, 1008, 504), (504, 252, 1008, 504), (504, 252, 1000, 500)),
    ("pixel_resized", QWEN3, (64, 32, 320, 320), (64, 32, 320, 320), (64, 32, 320, 320)),
]


@pytest.mark.parametrize(("convention", "frame", "numbers", "sent", "original"), KNOWN)
def test_known_boxes(convention, frame, numbers, sent, original):
    dropped: Counter[str] = Counter()
    assert CONVENTIONS[convention].to_sent(numbers, frame) == pytest.approx(sent)
    assert CONVENTIONS[convention].from_sent(sent, frame) == pytest.approx(numbers)
    assert to_original(numbers, convention, frame, dropped) == original
    assert not dropped


def test_every_convention_is_in_the_table():
    assert {row[0] for row in KNOWN} == set(CONVENTIONS)


@pytest.mark.parametrize("convention", CONVENTIONS)
@settings(max_examples=30)  # of functions that are linear
@given(original=SIZE, sent=SIZE, multiple=st.sampled_from([28, 32]), data=st.data())
def test_round_trip(convention, original, sent, multiple, data):
    frame = Frame(original, sent, multiple)
    width, height = sent
    box = tuple(data.draw(st.floats(0, side)) for side in (width, height, width, height))
    there = CONVENTIONS[convention].from_sent(box, frame)
    back = CONVENTIONS[convention].to_sent(there, frame)
    assert back == pytest.approx(box, rel=1e-6, abs=1e-9)
    again = frame.original_to_sent(frame.sent_to_original(box))
    assert again == pytest.approx(box, rel=1e-6, abs=1e-9)


# --- sizes


@pytest.mark.parametrize(
    ("size", "multiple", "low", "high", "rounded"),
    [
        ((1008, 756), 28, 3136, 1003520, (1008, 756)),
        ((1000, 500), 28, 3136, 1003520, (1008, 504)),
        ((4032, 3024), 28, 3136, 1003520, (1148, 840)),
        ((3024, 4032), 28, 3136, 1003520, (840, 1148)),
        ((1, 1), 28, 3136, 1003520, (56, 56)),
        ((600, 2), 28, 3136, 1003520, (588, 28)),
        ((42, 70), 28, 784, 1003520, (56, 56)),  # halves go to the even multiple
        ((100000, 1), 28, 3136, 1003520, (35840, 28)),
        ((1, 100000), 28, 3136, 1003520, (28, 35840)),
        ((640, 480), 32, 4096, 1048576, (640, 480)),
        ((1000, 10), 1, 1, 100, (100, 1)),
    ],
)
def test_known_sizes(size, multiple, low, high, rounded):
    assert round_size(size, multiple, low, high) == rounded


def many_sizes():
    """Sizes around where something changes, and as many anywhere."""
    sides = [1, 2, 13, 14, 15, 27, 28, 29, 41, 42, 43, 55, 56, 57, 64, 112, 199, 200, 201, 896]
    sides += [1000, 1001, 1002, 1023, 1024, 1144, 1145, 1146, 2000, 4032, 11_999, 12_000]
    rng = random.Random(0)
    anywhere = [(rng.randint(1, 12_000), rng.randint(1, 12_000)) for _ in range(2000)]
    return [*itertools.product(sides, sides), *anywhere]


@pytest.mark.parametrize("multiple", [14, 28, 32])
def test_size_is_the_server_s(multiple):
    area = multiple**2
    for size in filter(like_a_photo, many_sizes()):
        found = round_size(size, multiple, 4 * area, 1280 * area)
        assert found == server_size(*size, multiple), size


@pytest.mark.parametrize("multiple", [28, 32])
def test_a_size_that_fits_stays(multiple):
    """So what is sent at a multiple of the patch is not resized again by the server."""
    area = multiple**2
    for size in many_sizes():
        once = round_size(size, multiple, 4 * area, 1280 * area)
        assert once[0] % multiple == once[1] % multiple == 0, size
        assert 4 * area <= once[0] * once[1] <= 1280 * area, size
        assert round_size(once, multiple, 4 * area, 1280 * area) == once, size
        frame = Frame(size, once, multiple)
        assert frame.sent == once
        box = (1.0, 2.0, 3.0, 4.0)
        assert CONVENTIONS["pixel_resized"].to_sent(box, frame) == box, size


@QUICK
@given(
    size=st.tuples(st.integers(1, 200_000), st.integers(1, 200_000)),
    multiple=st.sampled_from([1, 28, 32]),
    patches=st.integers(1, 3000),
)
def test_sent_size_keeps_its_bounds(size, multiple, patches):
    transport = Transport(patches * multiple**2, multiple)
    sent = fit_size(size, transport)
    assert sent[0] >= 1 and sent[1] >= 1
    assert sent[0] % multiple == sent[1] % multiple == 0
    assert sent[0] * sent[1] <= transport.max_pixels
    if multiple == 1 and size[0] * size[1] <= transport.max_pixels:
        assert sent == size


@pytest.mark.parametrize("transport", [Transport(1003520), Transport(1003520, 28, 3136)], ids=str)
def test_aspect_ratio_is_kept(transport):
    for size in many_sizes():
        if min(size) < 200 or max(size) > 4 * min(size):
            continue
        sent = fit_size(size, transport)
        stretch = (sent[0] / size[0]) / (sent[1] / size[1])
        assert abs(math.log(stretch)) <= 1.05 * transport.multiple / min(sent), size
        assert sent[0] * sent[1] > 0.85 * min(size[0] * size[1], transport.max_pixels), size


@pytest.mark.parametrize(("multiple", "resize"), [(1, 28), (28, 28), (32, 32)])
def test_resize_multiple(multiple, resize):
    assert Transport(10**6, multiple).resize_multiple == resize


# --- mending

HUNDRED = Frame(original=(100, 80), sent=(100, 80))
NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("numbers", "box"),
    [
        ((10, 20, 30, 40), (10, 20, 30, 40)),
        ((30, 40, 10, 20), (10, 20, 30, 40)),
        ((30, 20, 10, 40), (10, 20, 30, 40)),
        ((-2, -1, 50, 50), (0, 0, 50, 50)),
        ((50, 50, 102, 81), (50, 50, 100, 80)),
        ((0, 0, 2, 1), (0, 0, 2, 1)),
        ((10.9, 20.9, 30.1, 40.1), (10, 20, 31, 41)),
        ((10.5, 20.5, 10.6, 20.6), (10, 20, 11, 21)),
        ((99.5, 79.5, 99.6, 79.6), (99, 79, 100, 80)),
        ((10 - 1e-9, 20 - 1e-9, 30 + 1e-9, 40 + 1e-9), (10, 20, 30, 40)),
        ((10 + 1e-9, 20 + 1e-9, 30 - 1e-9, 40 - 1e-9), (10, 20, 30, 40)),
        ((0, 0, 100, 80), (0, 0, 100, 80)),
    ],
)
def test_mended(numbers, box):
    dropped: Counter[str] = Counter()
    assert to_original(numbers, "pixel_sent", HUNDRED, dropped) == box
    assert not dropped


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ((NAN, 1, 2, 3), "not_finite"),
        ((1, 1, 2, NAN), "not_finite"),
        ((1, 1, INF, 3), "not_finite"),
        ((-INF, 1, 2, 3), "not_finite"),
        ((10, 10, 10, 20), "no_area"),
        ((10, 10, 20, 10), "no_area"),
        ((0, 0, 0, 0), "no_area"),
        ((10, 10, 10 + 1e-9, 20), "no_area"),
        ((10, 20 - 1e-9, 20, 20 + 1e-9), "no_area"),
        ((100 - 1e-9, 10, 101, 20), "no_area"),
        ((-1, 10, 1e-9, 20), "no_area"),
        ((0.1, 0.2, 0.35, 0.45), "fraction"),
        ((0, 0, 1, 1), "fraction"),
        ((-0.01, 0.2, 1.01, 1), "fraction"),
        ((50, 50, 500, 500), "outside"),
        ((-3, 10, 50, 50), "outside"),
        ((10, 10, 50, 81.7), "outside"),
        ((10, 10, 50, 1e60), "outside"),
        ((-1e300, -1e300, 1e300, 1e300), "outside"),
        ((101, 10, 120, 20), "outside"),
        ((100, 10, 101, 20), "outside"),
        ((100, 10, 120, 20), "outside"),
        ((10, -20, 20, -1), "outside"),
        ((10, -20, 20, 0), "outside"),
        ((10, 80, 20, 90), "outside"),
    ],
)
def test_dropped(numbers, reason):
    dropped: Counter[str] = Counter()
    assert to_original(numbers, "pixel_sent", HUNDRED, dropped) is None
    assert dropped == {reason: 1}


def test_overflow_is_not_finite():
    dropped: Counter[str] = Counter()
    frame = Frame(original=(4000, 4000), sent=(40, 40))
    assert to_original((0, 0, 1e308, 1e308), "pixel_sent", frame, dropped) is None
    assert dropped == {"not_finite": 1}


def test_float_noise_of_scaling_does_not_widen_a_box():
    # 427 * 1000 / 640 is 667.1875; back it is 427.00000000000006 on some platforms.
    for side in range(1, 640):
        frame = Frame(original=(640, 640), sent=(640, 640))
        numbers = CONVENTIONS["norm1000_xyxy"].from_sent((0, 0, side, side), frame)
        assert to_original(numbers, "norm1000_xyxy", frame, Counter()) == (0, 0, side, side)


NUMBER = (
    st.floats(allow_nan=True, allow_infinity=True)
    | st.floats(-2000, 2000)
    | st.integers(-10, 1100).map(float)
    | st.floats(-1e-5, 1e-5)
)


@settings(max_examples=200)
@given(
    numbers=st.tuples(NUMBER, NUMBER, NUMBER, NUMBER),
    convention=st.sampled_from(sorted(CONVENTIONS)),
    original=SIZE,
    sent=SIZE,
)
def test_a_box_is_good_or_counted(numbers, convention, original, sent):
    dropped: Counter[str] = Counter()
    box = to_original(numbers, convention, Frame(original, sent), dropped)
    if box is None:
        assert dropped.total() == 1
        assert set(dropped) <= {"not_finite", "no_area", "outside", "fraction"}
    else:
        x1, y1, x2, y2 = box
        assert all(type(side) is int for side in box)
        assert 0 <= x1 < x2 <= original[0]
        assert 0 <= y1 < y2 <= original[1]
        assert not dropped


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_a_whole_box_comes_back_exactly(convention):
    rng = random.Random(0)
    for _ in range(1000):
        most = rng.choice([3, 30, 6000])
        original = rng.randint(2, most), rng.randint(2, most)
        frame = Frame(original, (rng.randint(2, 3000), rng.randint(2, 3000)))
        (x1, x2), (y1, y2) = (sorted(rng.sample(range(side + 1), 2)) for side in original)
        written = CONVENTIONS[convention].from_sent(frame.original_to_sent((x1, y1, x2, y2)), frame)
        if convention != "norm1_xyxy" and max(written) <= 1.02:
            continue  # it would be meant as fractions
        found = to_original(written, convention, frame, Counter())
        assert found == (x1, y1, x2, y2), frame


@settings(max_examples=150)
@given(
    convention=st.sampled_from(sorted(CONVENTIONS)),
    sent=st.tuples(st.integers(200, 3000), st.integers(200, 3000)),
    data=st.data(),
)
def test_only_an_inexact_border_is_clipped(convention, sent, data):
    """A box that passes its image by more than the border is no box, and none is moved."""
    frame = Frame(sent, sent)
    width, height = sent
    box = (width * 0.3, height * 0.3, *(side * data.draw(st.floats(0.4, 1.1)) for side in sent))
    found = to_original(CONVENTIONS[convention].from_sent(box, frame), convention, frame, Counter())
    beyond = max(box[2] / width, box[3] / height) - 1
    if beyond > 0.0205:
        assert found is None
    elif beyond < 0.0195:
        cut = [min(side, end) for side, end in zip(sent, box[2:], strict=True)]
        assert found == (int(box[0]), int(box[1]), *(math.ceil(end - 1e-6) for end in cut))
        assert reaches_beyond(box, "pixel_sent", frame) == (beyond > 1e-6) or abs(beyond) < 1e-5


# --- overlap

BOX = st.tuples(*[st.integers(-20, 20)] * 4).map(order_corners)


@pytest.mark.parametrize(
    ("first", "second", "iou"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),
        ((0, 0, 10, 10), (5, 0, 15, 10), 50 / 150),
        ((0, 0, 10, 10), (2, 2, 4, 4), 0.04),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0.0),
        ((0, 0, 10, 10), (20, 20, 30, 30), 0.0),
        ((0, 0, 10, 10), (20, 0, 30, 10), 0.0),
        ((0, 0, 0, 0), (0, 0, 0, 0), 0.0),
        ((5, 5, 5, 5), (0, 0, 10, 10), 0.0),
        ((0.0, 0.0, 0.5, 1.0), (0.0, 0.0, 1.0, 0.5), 0.25 / 0.75),
    ],
)
def test_known_iou(first, second, iou):
    assert box_iou(first, second) == pytest.approx(iou)


@QUICK
@given(first=BOX, second=BOX)
def test_iou_properties(first, second):
    iou = box_iou(first, second)
    assert iou == box_iou(second, first)
    assert 0 <= iou <= 1
    assert box_iou(first, first) == (1 if box_area(first) else 0)
    pixels = [
        {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}
        for box in (first, second)
    ]
    union = pixels[0] | pixels[1]
    assert iou == pytest.approx(len(pixels[0] & pixels[1]) / len(union) if union else 0)


@QUICK
@given(box=st.tuples(*[st.floats(-500, 500)] * 4), size=SIZE)
def test_clipping_stays_inside_and_changes_no_inner_box(box, size):
    x1, y1, x2, y2 = clipped = clip_box(order_corners(box), size)
    assert 0 <= x1 <= x2 <= size[0]
    assert 0 <= y1 <= y2 <= size[1]
    assert clip_box(clipped, size) == clipped
