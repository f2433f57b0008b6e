# SPDX-License-Identifier: Apache-2.0
"""Good replies in many shapes, and what goes wrong with them on their way.

An entry is a box of one expression. A mutation changes entries or the text, and with them the
truth: the boxes that may come out for each expression, whatever is asked again. All of it comes
from one ``Random``: what draws each part by itself, and can simplify it, takes ten times as long.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

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


def _place(box: Numbers) -> tuple[int, int]:
    """Boxes at one place would be one thing boxed twice."""
    return int(box[0]) // 60, int(box[1]) // 60


def _box(rng: Random) -> Numbers:
    x, y = (rng.choice((0, 7, 60, 940, rng.randint(0, 940), rng.randint(0, 940))) for _ in "xy")
    return (x, y, x + rng.randint(20, 60), y + rng.randint(20, 60))


def good_reply(rng: Random) -> Good:
    asked = rng.sample(PHRASES, rng.randint(1, 4))
    places: dict[tuple[int, int], Numbers] = {}
    entries, absent = [], []
    for index, text in enumerate(asked):
        count = min(rng.randint(0, 3), 3 if AskedPhrase(text).plural else 1)
        for _ in range(count):
            while _place(box := _box(rng)) in places:
                pass
            places[_place(box)] = box
            entries.append(Entry(index, box, index, text))
        absent += [index] * (not count)
    return Good(asked, entries, absent)


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


def _is_whole(good: Good) -> bool:
    """Whether each expression is there, under its id and a label."""
    there = {e.owner for e in good.entries} | set(good.absent)
    named = all(e.id == e.owner and e.label is not None for e in good.entries)
    return named and there == set(range(len(good.asked)))


def mutated(rng: Random, good: Good, writer: Writer) -> Good:
    """A good reply after something went wrong with its entries."""
    if not good.entries or good.crossed:
        return good
    entries = list(good.entries)
    place = rng.randint(0, len(entries) - 1)
    entry = entries[place]
    other = rng.randint(0, len(entries) - 1)
    kinds = ["delete", "duplicate", "turn"]
    if writer is not by_ids:
        kinds += ["another thing", "numbered label", "case"]
    if writer in WITH_IDS:
        kinds += ["no id", "no label"]
        if _is_whole(good):  # or nothing could tell what was mixed up
            kinds += ["swap ids", "swap labels", "shift ids", "running ids"]
    if writer in (as_asked, as_list, fenced, by_ids):
        kinds += ["unseen"]
    thinned = good.thinned | {entry.owner}
    match rng.choice(kinds):
        case "delete":
            del entries[place]
        case "duplicate":
            entries.insert(other, entry)
        case "turn":
            entries.reverse()
        case "another thing":
            entries[place] = replace(entry, label=rng.choice(THINGS))
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


def damaged(rng: Random, text: str) -> tuple[str, bool]:
    """A text after something went wrong with it, and whether its end was lost."""
    kind = rng.choice(["cut", "drop", "insert", "double", "quotes", "around", "nest"])
    at = rng.randint(0, max(len(text) - 1, 0))
    brackets = [place for place, char in enumerate(text) if char in "[]{}(),\":'<>|/\n"]
    spot = rng.choice(brackets) if brackets else at
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
            return text[:spot] + rng.choice([" ", "\n", "]", "}", ",", "x"]) + text[spot:], False
        case "quotes":
            return text.replace('"', rng.choice(["'", "\u201d", '\\"'])), False
        case "nest":
            return f'{{"output": {text}}}', False
        case _:
            before, after = rng.choice([
                ("<think>Maybe [1, 2, 3, 4].</think>", ""),
                ("Sure! ", " I hope that helps."),
                ("", "\n\nLet me know { if you need more."),
                ("```\n", "\n```<|im_end|>"),
            ])  # fmt: skip
            return before + text + after, False
