# SPDX-License-Identifier: Apache-2.0
"""The 80 COCO nouns, their synonyms, and where a caption mentions them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

COCO_CLASSES = tuple(
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,"
    "stop sign,parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,"
    "backpack,umbrella,handbag,tie,suitcase,frisbee,skis,snowboard,sports ball,kite,"
    "baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,cup,fork,"
    "knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,"
    "chair,couch,potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,"
    "cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,"
    "hair drier,toothbrush".split(",")
)

_SYNONYMS = {
    "person": "man woman boy girl child kid baby lady guy astronaut skier surfer skateboarder "
    "player rider pedestrian cyclist chef worker men women children people kids babies ladies",
    "bicycle": "bike",
    "car": "automobile sedan taxi cab suv",
    "motorcycle": "motorbike",
    "airplane": "plane aeroplane jet aircraft",
    "truck": "lorry pickup",
    "boat": "ship sailboat canoe kayak ferry",
    "cat": "kitten kitty tabby",
    "dog": "puppy puppies",
    "horse": "pony ponies",
    "sheep": "lamb",
    "cow": "bull calf calves cattle",
    "backpack": "rucksack",
    "handbag": "purse",
    "tie": "necktie",
    "suitcase": "luggage",
    "sports ball": "ball,soccer ball,football,basketball,tennis ball,baseball",
    "tennis racket": "racket racquet",
    "wine glass": "wineglass",
    "cup": "mug,coffee cup,teacup,cup of coffee,cup of espresso,cup of tea",
    "donut": "doughnut",
    "couch": "sofa",
    "potted plant": "houseplant",
    "dining table": "table,wooden table",
    "tv": "television,television set,monitor,tvs",
    "laptop": "laptop computer,notebook computer",
    "mouse": "computer mouse",
    "remote": "remote control",
    "cell phone": "phone,smartphone,mobile phone,cellphone,telephone",
    "oven": "stove",
    "refrigerator": "fridge",
    "teddy bear": "teddy",
    "hair drier": "hair dryer,hairdryer",
}
# A colour far more often than a thing; it names one only between a determiner and a boundary.
_COLOUR_NOUNS = frozenset({"orange"})

_DETERMINERS = frozenset(
    "a an the one two three four five six seven eight nine ten some several many his her its "
    "their my our your this that these those another".split()
)
# Words that end a noun phrase when one walks back from its noun.
_STOPS = frozenset(
    "and or but with without of in on at by for to from into onto over under near beside behind "
    "between above below around through while as is are was were be being been has have had "
    "who which that there it he she they we you i holding wearing riding sitting standing "
    "walking running playing eating drinking looking next not no".split()
)
_MAX_MODIFIERS = 4
_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_LEAD_IN = re.compile(
    r"^\s*(?:(?:in|on)\s+(?:this|the)\s+(?:image|picture|photo|photograph)\s*,?\s*)?"
    r"(?:(?:here\s+)?(?:we|you|i|one)\s+can\s+(?:clearly\s+)?see\s+(?:that\s+)?"
    r"|there\s+(?:is|are)\s+(?=(?:an?|the|one|two|three|four|five|some|several|many)\b)"
    r"|(?:this|the)\s+(?:image|picture|photo|photograph)\s+(?:shows|depicts|features|contains|is\s+of)\s+"
    r"|(?:an?|the)\s+(?:image|picture|photo|photograph|close-?up)\s+of\s+)?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Mention:
    """A noun phrase in a text, its span, and the COCO class that its noun names."""

    start: int
    end: int
    noun: str
    coco_class: str


def clean_caption(caption: str) -> str:
    """``caption`` without a lead-in such as "we can see"; upper case kept at the start."""
    text = caption.strip()
    match = _LEAD_IN.match(text)
    rest = text[match.end() :] if match else text
    return rest[:1].upper() + rest[1:] if rest and rest != text else text


def find_mentions(text: str) -> Iterator[Mention]:
    """Mentions of COCO things in ``text``, with the modifiers before them, left to right."""
    words = [(match.group().lower(), match.start(), match.end()) for match in _WORD.finditer(text)]
    index = 0
    while index < len(words):
        length = next(
            (n for n in (3, 2, 1) if _phrase(text, words, index, n) in _NOUNS),
            0,
        )
        if not length or not _is_noun(text, words, index, length):
            index += 1
            continue
        noun = _phrase(text, words, index, length)
        assert noun is not None
        first = _phrase_start(text, words, index)
        last = words[index + length - 1][2]
        yield Mention(words[first][1], last, text[words[index][1] : last], _NOUNS[noun])
        index += length


Words = list[tuple[str, int, int]]


def _phrase(text: str, words: Words, index: int, length: int) -> str | None:
    run = words[index : index + length]
    if len(run) < length or not _adjacent(text, run):
        return None
    return " ".join(word for word, _, _ in run)


def _adjacent(text: str, run: Words) -> bool:
    gaps = (text[left[2] : right[1]] for left, right in zip(run, run[1:], strict=False))
    return all(gap.isspace() for gap in gaps)


def _is_noun(text: str, words: Words, index: int, length: int) -> bool:
    """Whether the words name the thing and do not modify the next noun ("a car park")."""
    following = words[index + length : index + length + 1]
    joined = bool(following) and _adjacent(text, words[index + length - 1 : index + length + 1])
    word = words[index][0]
    if length == 1 and word in _COLOUR_NOUNS:
        before = words[index - 1][0] if index else ""
        return before in _DETERMINERS and not (joined and following[0][0] not in _STOPS)
    return not (joined and following[0][0] in _HEADS)


# What makes a thing's name before it a modifier: "a dog house" is no dog.
_HEADS = frozenset(
    "house park door seat food shop store station stop driver owner lover park keeper stand shelf "
    "case cover collar basket handle holder maker statue painting picture toy costume print".split()
)


def _phrase_start(text: str, words: Words, index: int) -> int:
    first = index
    for candidate in range(index - 1, max(index - 2 - _MAX_MODIFIERS, -1), -1):
        word = words[candidate][0]
        if word in _STOPS or not _adjacent(text, words[candidate : candidate + 2]):
            break
        first = candidate
        if word in _DETERMINERS:
            return first
    # Without a determiner the words before a noun may as well be a verb.
    return first if words[first][0] in _DETERMINERS else index


def _plurals(noun: str) -> Iterator[str]:
    yield noun
    if noun.endswith(("s", "x", "ch", "sh")):
        yield f"{noun}es"
    elif noun.endswith("fe"):
        yield f"{noun[:-2]}ves"
    elif noun.endswith("y") and noun[-2:-1] not in "aeiou":
        yield f"{noun[:-1]}ies"
    else:
        yield f"{noun}s"


def _nouns() -> dict[str, str]:
    table: dict[str, str] = {}
    for name in COCO_CLASSES:
        synonyms = _SYNONYMS.get(name, "")
        listed = synonyms.split(",") if "," in synonyms or " " not in synonyms else synonyms.split()
        for noun in (name, *filter(None, listed)):
            for form in _plurals(noun):
                table.setdefault(form, name)
    return table


_NOUNS = _nouns()
