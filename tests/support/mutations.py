# SPDX-License-Identifier: Apache-2.0
"""Good replies in many shapes, and what goes wrong with them on their way.

An entry is a box of one expression. A mutation changes entries or the text, and with them the
truth: the boxes that may come out for each expression, whatever is asked again.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from image_grounding.replies.phrases import AskedPhrase

Numbers = tuple[int, int, int, int]

PHRASES = (
    "a dog", "two dogs", "the red car", "a blue car", "a man", "woman next to a man",
    "the man's hat", "terrier dogs", "a bowl for dogs", "the tree on the left", "trees",
    'a sign that says "stop"', "people in the background", "the sky", "a table with a lamp",
    "lamp", "7", "three white boats", "le chat noir", "\u8d64\u3044\u8eca",
    "a group of children", "grass", "a box", "the first object",
)  # fmt: skip
THINGS = ("a zebra", "bicycle", "the wheel of a bus", "\u4eba", "background")


@dataclass(frozen=True)
class Entry:
    """One box as it is written: whose it is, and the id and label it is given."""

    owner: int
    box: Numbers | None
    id: int | None
    label: str | None


@dataclass(frozen=True)
class Good:
    """A reply that says all, before and after mutation.

    Attributes:
        asked: the expressions.
        entries: boxes; None for one that is said to be unseen.
        absent: ids that are listed as absent.
        crossed: ids or labels were mixed up; once more, and nothing could tell.
        thinned: expressions that lost entries, so that fewer boxes are right as well.
    """

    asked: Sequence[str]
    entries: Sequence[Entry]
    absent: Sequence[int] = ()
    crossed: bool = False
    thinned: frozenset[int] = frozenset()

    def truth(self, index: int) -> list[Numbers]:
        return sorted({e.box for e in self.entries if e.owner == index and e.box})

    def unseen(self) -> set[int]:
        return set(self.absent) | {e.owner for e in self.entries if e.box is None}


sides = st.integers(0, 940)
lengths = st.integers(20, 60)


def _place(box: Numbers) -> tuple[int, int]:
    """Boxes at one place would be one thing boxed twice."""
    return int(box[0]) // 60, int(box[1]) // 60


@st.composite
def boxes(draw: st.DrawFn) -> Numbers:
    x, y = draw(sides), draw(sides)
    return (x, y, x + draw(lengths), y + draw(lengths))


@st.composite
def good_replies(draw: st.DrawFn) -> Good:
    asked = draw(st.lists(st.sampled_from(PHRASES), min_size=1, max_size=4, unique=True))
    counts = [min(draw(st.integers(0, 3)), 3 if AskedPhrase(text).plural else 1) for text in asked]
    size = sum(counts)  # to draw a box takes longer than to read it
    drawn = iter(draw(st.lists(boxes(), min_size=size, max_size=size, unique_by=_place)))
    entries = [
        Entry(index, next(drawn), index, text)
        for index, (text, count) in enumerate(zip(asked, counts, strict=True))
        for _ in range(count)
    ]
    return Good(asked, entries, [index for index, count in enumerate(counts) if not count])


# --- shapes

Writer = Callable[[Good], str]


def _item(entry: Entry, key: str = "bbox_2d") -> dict[str, object]:
    item: dict[str, object] = {}
    if entry.id is not None:
        item["id"] = entry.id
    if entry.label is not None:
        item["label"] = entry.label
    return {**item, key: entry.box and list(entry.box)}


def as_asked(good: Good) -> str:
    return json.dumps(
        {"instances": [_item(e) for e in good.entries], "absent": list(good.absent)},
        ensure_ascii=False,
    )


def by_ids(good: Good) -> str:
    return json.dumps(
        {"instances": [_item(replace(e, label=None)) for e in good.entries], "absent": good.absent}
    )


def _labelled(good: Good) -> list[Entry]:
    unseen = [Entry(index, None, None, good.asked[index]) for index in good.absent]
    return [replace(e, id=None) for e in (*good.entries, *unseen)]


def as_list(good: Good) -> str:
    return json.dumps([_item(e) for e in _labelled(good)], ensure_ascii=False)


def fenced(good: Good) -> str:
    items = [_item(e, "box_2d") for e in _labelled(good)]
    return f"Here you are:\n```json\n{json.dumps(items, indent=1, ensure_ascii=False)}\n```"


def as_python(good: Good) -> str:
    return repr([_item(e) for e in _labelled(good)])


def one_a_line(good: Good) -> str:
    return "\n".join(json.dumps(_item(e)) for e in _labelled(good))


def keyed(good: Good) -> str:
    found: dict[str, list[object]] = {good.asked[index]: [] for index in good.absent}
    for entry in good.entries:
        found.setdefault(str(entry.label), []).append(entry.box)
    return json.dumps(found, ensure_ascii=False)


def keyed_with_scores(good: Good) -> str:
    found = {
        label: {"bboxes": numbers, "scores": [0.9] * len(numbers)}
        for label, numbers in json.loads(keyed(good)).items()
    }
    return json.dumps(found)


def seed(good: Good) -> str:
    return json.dumps([
        {"label": e.label, "bbox": e.box and f"<bbox>{' '.join(map(str, e.box))}</bbox>"}
        for e in _labelled(good)
    ])  # fmt: skip


def ref_box(good: Good) -> str:
    return "".join(
        f"<ref>{e.label}</ref><box>{[list(e.box)] if e.box else 'None'}</box>\n"
        for e in _labelled(good)
    )


def ref_det(good: Good) -> str:
    return "\n".join(
        f"<|ref|>{e.label}<|/ref|><|det|>[{list(e.box) if e.box else ''}]<|/det|>"
        for e in good.entries
    )


def object_ref(good: Good) -> str:
    return "".join(
        f"<|object_ref_start|>{e.label}<|object_ref_end|><|box_start|>"
        f"({e.box[0]},{e.box[1]}),({e.box[2]},{e.box[3]})<|box_end|>"
        for e in good.entries
        if e.box
    )


def numbered(good: Good) -> str:
    return "\n".join(
        f"{place}. {e.label}: {list(e.box) if e.box else 'not visible'}"
        for place, e in enumerate(_labelled(good), 1)
    )


def table(good: Good) -> str:
    rows = [
        f"| {e.label} | " + (" | ".join(map(str, e.box)) if e.box else "- | - | - | -") + " |"
        for e in _labelled(good)
    ]
    return "\n".join(["| label | x1 | y1 | x2 | y2 |", "|---|---|---|---|---|", *rows])


STRUCTURED: tuple[Writer, ...] = (
    as_asked, as_list, fenced, as_python, one_a_line, keyed, keyed_with_scores, seed,
)  # fmt: skip
LINES: tuple[Writer, ...] = (ref_box, ref_det, object_ref, numbered, table)
WITH_IDS: tuple[Writer, ...] = (as_asked,)
ANY = (*STRUCTURED, *LINES, by_ids)


# --- mutations of entries


@st.composite
def mutated(draw: st.DrawFn, good: Good, writer: Writer) -> Good:
    """A good reply after something went wrong with its entries."""
    if not good.entries or good.crossed:
        return good
    entries = list(good.entries)
    place = draw(st.integers(0, len(entries) - 1))
    entry = entries[place]
    other = draw(st.integers(0, len(entries) - 1))
    kinds = ["delete", "duplicate", "turn"]
    if writer is not by_ids:
        kinds += ["another thing", "numbered label", "case"]
    if writer in WITH_IDS:
        kinds += ["swap ids", "shift ids", "running ids", "no id", "no label", "swap labels"]
    if writer in (as_asked, as_list, fenced, by_ids):
        kinds += ["unseen"]
    thinned = good.thinned | {entry.owner}
    match draw(st.sampled_from(kinds)):
        case "delete":
            del entries[place]
        case "duplicate":
            entries.insert(other, entry)
        case "turn":
            entries.reverse()
        case "another thing":
            entries[place] = replace(entry, label=draw(st.sampled_from(THINGS)))
            return replace(good, entries=entries, thinned=thinned)
        case "numbered label":
            entries[place] = replace(entry, label=f"{place + 1}. {entry.label}")
        case "case":
            entries[place] = replace(entry, label=str(entry.label).upper())
        case "swap ids":
            entries[place] = replace(entry, id=entries[other].id)
            entries[other] = replace(entries[other], id=entry.id)
            return replace(
                good, entries=entries, thinned=thinned | {entries[other].owner}, crossed=True
            )
        case "swap labels":
            entries[place] = replace(entry, label=entries[other].label)
            entries[other] = replace(entries[other], label=entry.label)
            return replace(
                good, entries=entries, thinned=thinned | {entries[other].owner}, crossed=True
            )
        case "shift ids":
            entries = [replace(e, id=e.id + 1 if e.id is not None else None) for e in entries]
            return replace(good, entries=entries, crossed=True)
        case "running ids":
            entries = [replace(e, id=number) for number, e in enumerate(entries)]
            return replace(good, entries=entries, crossed=True)
        case "no id":
            entries[place] = replace(entry, id=None)
        case "no label":
            entries[place] = replace(entry, label=None)
        case "unseen":
            entries[place] = replace(entry, box=None)
    return replace(good, entries=entries)


# --- mutations of the text


@st.composite
def damaged(draw: st.DrawFn, text: str) -> tuple[str, bool]:
    """A text after something went wrong with it, and whether its end was lost."""
    kind = draw(st.sampled_from(["cut", "drop", "insert", "double", "quotes", "around", "nest"]))
    at = draw(st.integers(0, max(len(text) - 1, 0)))
    brackets = [place for place, char in enumerate(text) if char in "[]{}(),\":'<>|/\n"]
    spot = draw(st.sampled_from(brackets)) if brackets else at
    if not text:
        return text, False
    match kind:
        case "cut":
            return text[:at], True
        case "drop":
            return text[:spot] + text[spot + 1 :], False
        case "double":
            return text[:spot] + text[spot] + text[spot:], False
        case "insert":
            return text[:spot] + draw(st.sampled_from([" ", "\n", "]", "}", ",", "x"])) + text[
                spot:
            ], False
        case "quotes":
            return text.replace('"', draw(st.sampled_from(["'", "\u201d", '\\"']))), False
        case "nest":
            return f'{{"output": {text}}}', False
        case _:
            before, after = draw(
                st.sampled_from([
                    ("<think>Maybe [1, 2, 3, 4].</think>", ""),
                    ("Sure! ", " I hope that helps."),
                    ("", "\n\nLet me know { if you need more."),
                    ("```\n", "\n```<|im_end|>"),
                ])
            )  # fmt: skip
            return before + text + after, False
