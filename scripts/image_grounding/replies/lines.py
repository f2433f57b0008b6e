# SPDX-License-Identifier: Apache-2.0
"""Boxes in lines of text, between tags of a model family, or in prose.

A box belongs to the phrase before it on its line, else behind it, else in the heading above,
and only where nothing else is said there: a sentence about two things has two readings.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from image_grounding.replies.asked import Asked
from image_grounding.replies.items import Item
from image_grounding.replies.numbers import NUMBER, No, RawBox, Reading, boxes_in_text, says_none
from image_grounding.replies.phrases import is_neutral, word_set

_LONGEST_LINE = 4000
_N = NUMBER
_GAP = r"(?:\s*,\s*|[ \t]+)"
_GROUP = rf"[\[({{<]\s*{_N}(?:\s*[,;\s]\s*{_N})*\s*[\])}}>]"
_PAIR = rf"[\[({{<]\s*{_N}\s*[,;\s]\s*{_N}\s*[\])}}>]"
_NAME = (
    r"[\"'`]?(?:[xy][_ ]?(?:[012]|min|max)?|left|top|right|bottom|width|height|[wh]|c[xy])[\"'`]?"
)
_MEMBER = rf"{_NAME}(?: ?\(\w{{1,9}}\))?\s*[:=]\s*{_N}"
# The four of one box, each on a line
_MEMBER_LINES = re.compile(rf"(?:^[ \t]*(?:[-*\u2022] )?{_MEMBER}[ \t,;]*\n){{3}}", re.M | re.I)
_BOX = re.compile(
    # native tags
    r"<\|?(?P<tag>bbox|box|box_start|det)\|?>(?P<inside>.*?)"
    r"(?P<end><\|?/?(?:bbox|box|box_end|det)\|?>|\Z)"
    # brackets of four, or two of two, and lists of these
    rf"|(?P<list>\[\s*(?:{_GROUP}\s*,?\s*)+\]"
    rf"|{_PAIR}\s*(?:,|;|-+>?|\u2013|\u2192|to|and)?\s*{_PAIR}|{_GROUP})"
    # x1=1, y1=2, x2=3, y2=4
    rf"|(?P<named>[\[({{]?\s*{_MEMBER}(?:[\s,;]+{_MEMBER}){{3}}\s*[\])}}]?)"
    # four bare numbers
    rf"|(?P<bare>(?<![\w.%-])(?<!\d[ ,])(?<!\d, ){_N}(?:{_GAP}{_N}){{3}}"
    rf"(?![\w%]|\.\d|\s*,?\s*{_N}))",
    re.DOTALL | re.IGNORECASE,
)
_UNKNOWN = "\ufffd"  # something that is no name
_BROKEN = re.compile(r"[<>{}]|\|(?:ref|det)|object_ref")  # what is left of a tag
_MEMBERS = re.compile(r"\"\s*[:,]|\[\s*\]")  # what is left of an object
_NUMBERS = re.compile(rf"{_N}(?:[^\w\n]{{1,4}}{_N}){{2}}")
_REF = re.compile(
    r"<\|?(?:ref|object_ref_start|phrase)\|?>(.*?)<\|?/?(?:ref|object_ref_end|phrase)\|?>",
    re.DOTALL,
)
_NOISE = re.compile(
    r"<\|(?:begin_of_box|end_of_box|im_start|im_end|endoftext|eot_id|grounding|end|assistant)\|>"
    r"|</?(?:s|p|b|answer|output|response|final_answer|code|object|grounding)>|```\w*|\*\*|__|`|~~"
    r"|\\boxed\s*(?=\{)|\$"
)
_MARKER = re.compile(r"^\s*(?:[-*\u2022>+|#]+\s+|#+|\(?\d{1,3}[.)]\s+|[a-z][.)]\s+)+")
_SCORE = re.compile(
    r"(?<![\s,;(\[])[\s,;(\[]*+"  # from its start alone: a model may repeat one sign a long time
    r"(?:(?:with (?:a )?)?(?:score|confidence|conf|prob(?:ability)?)\b(?: of)?\W{0,3})?"
    r"(0?\.\d+|[01]\.\d+)[\s)\].,;]*$",
    re.IGNORECASE,
)
_FILLER = word_set(
    "is are was were be can at in on of for to with from by as the a an its their it this "
    "that here located found visible seen detected shown bounding box boxes bbox bbox_2d "
    "box_2d coordinates coords coordinate position location region area image picture photo "
    "given answer label object objects expression phrase item target referring and around "
    "approximately about would should has have i see find there result results final spanning "
    "covers covering corresponds corner corners left-top top-left bottom-right topleft "
    "bottomright follows following normalized sure ok okay you your described requested asked "
    "desired specified mentioned referred question located: score confidence id only just yes "
    "so therefore thus hence then now well"
)


@dataclass(frozen=True)
class Lines:
    """The items of a text that is no JSON.

    ``open`` where a box has no end; ``vague`` are phrases in sentences with two readings.
    """

    items: tuple[Item, ...]
    open: bool = False
    vague: frozenset[int] = frozenset()


def undecorated(text: str) -> str:
    """A text without marks around its words, and tokens around all of it."""
    return _NOISE.sub("", text)


def plain_lines(text: str) -> str:
    """A text without what only decorates it, single spaces between its words."""
    text = _NOISE.sub(" ", text)
    text = _MEMBER_LINES.sub(lambda match: match[0].replace("\n", ", "), text)
    return re.sub(r"[^\S\n]{2,}", " ", text)


def read_lines(text: str, asked: Asked) -> Lines:
    """The boxes in ``text``, each under the phrase that stands with it, and what is unseen."""
    items: list[Item] = []
    vague: set[int] = set()
    heading = ""
    is_open = False
    for line in _lines(plain_lines(text)):
        if len(line) > _LONGEST_LINE:
            items.append(Item(unread=1))
            continue
        boxes = [match for match in _BOX.finditer(line) if _is_box(match)]
        unclosed = [match for match in boxes if _is_unclosed(match, line)]
        boxes = [match for match in boxes if match not in unclosed]
        is_open = is_open or bool(unclosed)
        if not boxes:
            if not line.strip():
                continue
            if unseen := _unseen(line, asked):
                items.append(unseen)
                continue
            if numbers := _NUMBERS.search(line):  # a box that cannot be read
                name = name_in(line[: numbers.start()], asked)
                items.append(Item(labels=(name,) if name else (), unread=1))
                continue
            name = name_in(line, asked)
            heading = heading if name in ("", _UNKNOWN) else name
            continue
        found = list(_of_line(line, boxes, heading, asked))
        rest = _BOX.sub(lambda match: " " if _is_box(match) else match[0], line)
        if _NUMBERS.search(rest):
            found.append(Item(unread=1))
        named = [asked.named(name) for item in found for name in item.labels]
        if len(set(named)) > 1 and () in named:
            vague.update(index for names in named for index in names)
        items.extend(found)
    return Lines(tuple(items), is_open, frozenset(vague))


def _lines(text: str) -> Iterator[str]:
    """Lines; a tagged or bracketed box that goes over several is one."""
    start = 0
    for match in re.finditer(r"\n", text):
        before = text[start : match.start()]
        if match.start() - start < _LONGEST_LINE and _depth(before) > 0:
            continue
        yield from _parts(before)
        start = match.end()
    yield from _parts(text[start:])


def _parts(line: str) -> list[str]:
    """The parts of a line that a semicolon parts, not the numbers of a box."""
    return re.split(r";\s+(?=[^\W\d])", line.replace("\n", " "))


def _depth(text: str) -> int:
    return text.count("[") - text.count("]")


def _is_unclosed(match: re.Match[str], line: str) -> bool:
    """Whether the end of the text cuts a box, or what it stands in."""
    if match["tag"]:
        return not match["end"]
    return bool(match["bare"]) and _depth(line[: match.start()]) > 0


def _is_box(match: re.Match[str]) -> bool:
    if match["tag"] or match["named"] or match["bare"]:
        return True
    return len(re.findall(_N, match[0])) >= 3


def _of_line(
    line: str, boxes: Sequence[re.Match[str]], heading: str, asked: Asked
) -> Iterator[Item]:
    starts = [match.start() for match in boxes]
    ends = [match.end() for match in boxes]
    before = [line[end:start] for end, start in zip([0, *ends], starts, strict=False)]
    after = [line[end:start] for end, start in zip(ends, [*starts[1:], len(line)], strict=True)]
    bare = not (heading or boxes[0]["tag"] or _BROKEN.search(before[0]) or _strip(before[0], asked))
    behind = bare and all(asked.named(name_in(text, asked)) for text in after)
    last = heading
    inline = False
    for match, prefix, suffix in zip(boxes, before, after, strict=True):
        name = name_in(suffix, asked) if behind else name_in(prefix, asked) or last
        if inline and not asked.named(name):
            name = _right_before(prefix, asked) or name
        inline = bool(asked.named(name)) and not behind
        last = name
        score = _SCORE.match(suffix)
        yield _item(match, name, float(score[1]) if score and float(score[1]) <= 1 else None)


def _item(match: re.Match[str], name: str, score: float | None) -> Item:
    readings: list[Reading] = boxes_in_text(match["inside"] if match["tag"] else match[0])
    boxes = tuple((reading, score) for reading in readings if isinstance(reading, RawBox))
    return Item(
        labels=() if name in ("", _UNKNOWN) else (name,),
        boxes=boxes,
        unseen=No.BOX in readings,
        unread=readings.count(No.SENSE),
    )


def name_in(text: str, asked: Asked) -> str:
    """The name in what stands beside a box: the one of a tag, else all but filler words."""
    if tagged := _REF.findall(text):
        return str(tagged[-1]).strip() or _UNKNOWN
    name = _strip(text, asked)
    if _MEMBERS.search(name):
        return _UNKNOWN
    if asked.named(name):
        return name
    if name and _BROKEN.search(text):
        return _UNKNOWN
    sentence = _strip(re.split(r"[.!?]\s", text)[-1], asked)
    *before, clause = re.split(r",\s", sentence)
    clause = _strip(clause, asked)
    if asked.named(clause) and not any(asked.mentioned(part) for part in before):
        return clause
    return sentence if asked.named(sentence) else name


def _right_before(text: str, asked: Asked) -> str:
    """The phrase that ends right where a box begins, as in "a dog [...] chases a ball [...]"."""
    words = text.split()
    ends = (" ".join(words[start:]) for start in range(len(words)))
    return next((end for end in ends if asked.holds(end)), "")


def _strip(text: str, asked: Asked) -> str:
    """``text`` without list markers and the filler words at both ends; "" if nothing is left."""
    text = _MARKER.sub("", _SCORE.sub("", text)).strip(
        " \t,.!:;=-\u2013\u2014>|()[]{}\"'\u201c\u201d"
    )
    words = text.split()
    starts = [0]
    while starts[-1] < len(words) and _is_filler(words[starts[-1]]):
        starts.append(starts[-1] + 1)
    ends = [len(words)]
    while ends[-1] > 0 and _is_filler(words[ends[-1] - 1]):
        ends.append(ends[-1] - 1)
    for start in starts:
        for end in ends:
            name = " ".join(words[start:end])
            if start < end and asked.holds(name):
                return name
    return " ".join(words[starts[-1] : ends[-1]]).strip(" ,.:;=-\u2013\u2014>|()\"'\u201c\u201d")


def _is_filler(word: str) -> bool:
    return word.lower().strip(",.!:;=-()[]{}\"'\u2013\u2014>|") in _FILLER or not any(
        map(str.isalnum, word)
    )


def _unseen(line: str, asked: Asked) -> Item | None:
    """A line that names a phrase and says in the place of its box that there is none."""
    parts = re.split(
        r"\s*(?::|=|\s[-\u2013\u2014]+\s|->|\u2192|\|)\s*",
        _MARKER.sub("", line).strip(" |"),
        maxsplit=1,
    )
    if len(parts) != 2 or not says_none(parts[1]):
        return None
    name = _strip(parts[0], asked)
    if not name or (is_neutral(name) and not asked.holds(name)):
        return None
    return Item(labels=(name,), unseen=True)
