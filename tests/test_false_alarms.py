# SPDX-License-Identifier: Apache-2.0
"""Ordinary records carry no flag, and bad ones the right one: the checks over many captions."""

import pytest

from image_grounding.images.pixels import Header
from image_grounding.inspection.checks import Subject, check_record
from image_grounding.results.reading import Results
from support.results import make_line, write_results

SIZE = (640, 480)
# Cleaned caption; its expressions with their number of boxes, or where one is that fills a side.
BOTTOM, TOP, ALL_BUT_TOP = (0, 300, 640, 480), (0, 0, 640, 150), (0, 60, 640, 480)
ORDINARY = [
    ("A man riding a brown horse on the beach",
     {"A man": 1, "a brown horse": 1, "the beach": BOTTOM}),
    ("Two dogs playing with a red ball in the grass",
     {"Two dogs": 2, "a red ball": 1, "the grass": BOTTOM}),
    ("A kite flying in a blue sky over the sea",
     {"A kite": 1, "a blue sky": TOP, "the sea": BOTTOM}),
    ("An audience watches a band on a stage", {"An audience": 4, "a band": 3, "a stage": 1}),
    ("A fleet of buses parked in a row", {"A fleet of buses": 5, "a row": 5}),
    ("An array of colorful umbrellas", {"An array of colorful umbrellas": 7}),
    ("Four wheel drive truck in the mud", {"Four wheel drive truck": 1, "the mud": BOTTOM}),
    ("In the kitchen, a woman cuts vegetables on a board",
     {"the kitchen": ALL_BUT_TOP, "a woman": 1, "vegetables": 3, "a board": 1}),
    ("The man whose hat is red waves at another", {"The man whose hat is red": 1, "another": 1}),
    ("A sign for Main St.", {"A sign": 1, "Main St.": 1}),
    ("A flock of birds over a lake", {"A flock of birds": 9, "a lake": BOTTOM}),
    ("A pair of skis leaning on a wall", {"A pair of skis": 2, "a wall": ALL_BUT_TOP}),
    ("Two pairs of shoes on the floor", {"Two pairs of shoes": 4, "the floor": BOTTOM}),
    ("A bowl of apples on a wooden table", {"A bowl of apples": 1, "a wooden table": BOTTOM}),
    ("A plate with two sandwiches and fries",
     {"A plate": 1, "two sandwiches": 2, "fries": 1}),
    ("Three women who are wearing hats", {"Three women who are wearing hats": 3, "hats": 3}),
    ("Both children hold kites", {"Both children": 2, "kites": 2}),
    ("The dog that sits on the couch", {"The dog that sits on the couch": 1, "the couch": BOTTOM}),
    ("A two-story house with a red roof", {"A two-story house": 1, "a red roof": 1}),
    ("A clock that shows 7:30", {"A clock that shows 7:30": 1}),
    ("Two skis on the snow", {"Two skis": 2, "the snow": BOTTOM}),
    ("A man with two watches on his wrist", {"A man": 1, "two watches on his wrist": 2}),
    ("The stands behind the players", {"The stands": TOP, "the players": 5}),
    ("A herd of sheep grazing on a hillside", {"A herd of sheep": 8, "a hillside": BOTTOM}),
    ("Twenty people at a long table", {"Twenty people": 18, "a long table": 1}),
    ("A crowd of people watching a parade", {"A crowd of people": 6, "a parade": 3}),
    ("The number 12 on a jersey", {"The number 12": 1, "a jersey": 1}),
    ("A close view of a cat's face", {"a cat's face": (0, 40, 640, 480)}),
    ("Three sheep and two deer near a fence", {"Three sheep": 3, "two deer": 2, "a fence": 1}),
    ("A person in a wetsuit carrying a surfboard",
     {"A person in a wetsuit": 1, "a wetsuit": 1, "a surfboard": 1}),
    ("A bathroom with a sink, a mirror and a toilet",
     {"A bathroom": ALL_BUT_TOP, "a sink": 1, "a mirror": 1, "a toilet": 1}),
    ("Traffic lights over a city street at night",
     {"Traffic lights": 3, "a city street": BOTTOM}),
    ("An old photograph on the wall", {"An old photograph on the wall": 1}),
    ("A baseball player swinging a bat at home plate",
     {"A baseball player": 1, "a bat": 1, "home plate": 1}),
    ("A group of giraffes standing beside tall trees",
     {"A group of giraffes": 4, "tall trees": TOP}),
    ("The left of the two chairs", {"The left of the two chairs": 1, "the two chairs": 2}),
    ("A bunch of bananas and one orange", {"A bunch of bananas": 1, "one orange": 1}),
    ("A team of workers repairing the road", {"A team of workers": 3, "the road": BOTTOM}),
    ("Hands holding a cup of tea", {"Hands": 2, "a cup of tea": 1}),
    ("The second bus from the right", {"The second bus from the right": 1}),
    ("Some people on bikes", {"Some people": 3, "bikes": 3}),
    ("A stop sign covered in stickers", {"A stop sign covered in stickers": 1, "stickers": 6}),
    ("A set of knives on a counter", {"A set of knives": 5, "a counter": BOTTOM}),
    ("A bed with white pillows near a window",
     {"A bed": BOTTOM, "white pillows": 2, "a window": TOP}),
    ("A jet leaving white trails in the sky", {"A jet": 1, "white trails": 2, "the sky": TOP}),
    ("One of the zebras looking at the camera", {"One of the zebras": 1}),
    ("A little girl with a teddy bear as big as she is",
     {"A little girl": 1, "a teddy bear as big as she is": 1}),
    ("The tennis court where two men play", {"The tennis court": BOTTOM, "two men": 2}),
    ("A row of parked motorcycles", {"A row of parked motorcycles": 6}),
    ("A tray of donuts", {"A tray of donuts": 12}),
    ("A laptop, a mouse and a mug on a desk",
     {"A laptop": 1, "a mouse": 1, "a mug": 1, "a desk": BOTTOM}),
    ("Six wine glasses", {"Six wine glasses": 6}),
    ("A half eaten pizza", {"A half eaten pizza": 1}),
    ("A family eating dinner", {"A family": 4, "dinner": 1}),
    ("A skate park with ramps", {"A skate park": BOTTOM, "ramps": 3}),
    ("A bride and groom cutting a cake", {"A bride": 1, "groom": 1, "a cake": 1}),
    ("The bird on the left of the feeder", {"The bird on the left of the feeder": 1}),
    ("A remote control beside a can of soda", {"A remote control": 1, "a can of soda": 1}),
    ("一只棕色的狗在草地上", {"一只棕色的狗": 1, "草地": 1}),
    ("Ein Mann reitet ein Pferd", {"Ein Mann": 1, "ein Pferd": 1}),
]  # fmt: skip
# Check; the caption as given and as cleaned; expressions as above.
BAD = [
    (
        "not_a_noun_phrase",
        "",
        "A man rides a brown horse on the beach",
        {"A man rides a brown horse on the beach": 1},
    ),
    ("not_a_noun_phrase", "", "Two dogs run in the park", {"Two dogs run in the park": 2}),
    ("not_a_noun_phrase", "", "A woman is holding a cup", {"A woman is holding a cup": 1}),
    ("not_a_noun_phrase", "", "The cat sits on the mat.", {"The cat sits on the mat.": 1}),
    ("not_a_noun_phrase", "", "A boy wears a hat", {"A boy wears a hat": 1}),
    ("not_a_noun_phrase", "", "Children play in the sand", {"Children play in the sand": 3}),
    ("not_a_noun_phrase", "", "a cat and it", {"a cat": 1, "it": 1}),
    ("not_a_noun_phrase", "", "both of them", {"them": 2}),
    ("not_a_noun_phrase", "", "someone here", {"someone": 1}),
    ("not_a_noun_phrase", "", "a cat 42", {"a cat": 1, "42": 1}),
    ("not_a_noun_phrase", "", "The kids jump into the pool", {"The kids jump into the pool": 2}),
    ("not_a_noun_phrase", "", "Horses were running", {"Horses were running": 2}),
    ("number_mismatch", "", "two dogs", {"two dogs": 1}),
    ("number_mismatch", "", "both dogs", {"both dogs": 1}),
    ("number_mismatch", "", "twenty people", {"twenty people": 1}),
    ("number_mismatch", "", "three women in hats", {"three women in hats": 2}),
    ("number_mismatch", "", "a dog", {"a dog": 3}),
    ("number_mismatch", "", "an old man", {"an old man": 2}),
    ("number_mismatch", "", "the 3 buses", {"the 3 buses": 4}),
    ("number_mismatch", "", "one red car", {"one red car": 2}),
    ("lead_in_left", "", "This is a photo of a dog", {"a dog": 1}),
    ("lead_in_left", "", "Pictured here is a dog", {"a dog": 1}),
    ("lead_in_left", "", "The image shows a dog", {"a dog": 1}),
    ("lead_in_left", "", "There is a dog", {"a dog": 1}),
    ("lead_in_left", "", "Here we see a dog", {"a dog": 1}),
    ("lead_in_left", "", "In this picture, a dog runs", {"a dog": 1}),
    ("lead_in_left", "", "A black and white photo of a dog", {"a dog": 1}),
    ("lead_in_left", "", "A close-up shot of a dog", {"a dog": 1}),
    ("caption_rewritten", "There is a dog on a sofa", "a cat on a sofa", {"a cat": 1}),
    ("caption_rewritten", "a dog on a sofa", "a dog on a sofa next to a lamp", {"a lamp": 1}),
    ("caption_rewritten", "Holiday 2019", "a dog beside a wooden fence", {"a dog": 1}),
    ("border_box", "", "a dog", {"a dog": (0, 470, 640, 480)}),
]


def flags_of(tmp_path, caption, cleaned, phrases):
    """The checks' names, for boxes that lie apart from each other in the middle of the picture."""
    places = ((x, y, x + 34, y + 30) for y in range(60, 400, 40) for x in range(50, 550, 50))
    expressions = [
        (text, [where] if isinstance(where, tuple) else [next(places) for _ in range(where)])
        for text, where in phrases.items()
    ]
    line = make_line(0, expressions, caption=caption or cleaned, cleaned=cleaned, size=SIZE)
    (record,) = Results(write_results(tmp_path, [line], images=False)).records()
    return {flag.check for flag in check_record(Subject(record, Header(SIZE, 1)))}


@pytest.mark.parametrize(("caption", "phrases"), ORDINARY, ids=[row[0] for row in ORDINARY])
def test_an_ordinary_record_has_no_flag(tmp_path, caption, phrases):
    assert flags_of(tmp_path, "", caption, phrases) == set()


@pytest.mark.parametrize(("check", "caption", "cleaned", "phrases"), BAD)
def test_a_bad_record_has_the_right_flag(tmp_path, check, caption, cleaned, phrases):
    assert check in flags_of(tmp_path, caption, cleaned, phrases)


def test_there_are_enough_of_both():
    assert len(ORDINARY) >= 60 and len(BAD) >= 30


@pytest.mark.parametrize(
    ("caption", "cleaned"),
    [
        ("We can see a womman on the sofa", "a woman on the sofa"),
        ("there're two dogs", "two dogs"),
        ("In this image there is a man, he is riding a horse", "a man riding a horse"),
        ("THE DOG IS BROWN", "the dog is brown"),
    ],
)
def test_cleaning_may_mend_and_shorten(tmp_path, caption, cleaned):
    assert "caption_rewritten" not in flags_of(tmp_path, caption, cleaned, {"dog": 1})
