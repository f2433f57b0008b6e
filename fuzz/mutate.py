# SPDX-License-Identifier: Apache-2.0
"""Mutations that leave JSON what it is, so that what is behind its parser is reached, too."""

import json
import random
from typing import Any

_ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 7, 0.5, -0.0, 1e308, 10**19, 10**400, "", " ", "a", "\ud800", "\0",
    "\u2028", "0", "-1", "1e9", "\U0001f697", "../../x", "9" * 50, [], {}, [[]], [{}], {"": 0},
    [1, 2, 3, 4], [0, 0, 0, 0], [4, 3, 2, 1], [1, 2, 3, 4, 5], [1e308, -1e308, 0, 1],
)  # fmt: skip
_MOST_BYTES = 4096


def mutated_json(text: bytes, rng: random.Random) -> bytes | None:
    """A line of ``text`` with another value somewhere in it; None where it is no JSON.

    Args:
        text: JSON, or a JSON value a line.
        rng: what chooses.
    """
    for lines in ([text], text.splitlines(keepends=True)):
        place = rng.randrange(len(lines)) if lines else 0
        try:
            value = json.loads(lines[place])
            for _ in range(rng.randint(1, 3)):
                value = _edited(value, rng)
            changed = json.dumps(value, ensure_ascii=rng.random() < 0.8)
        except (ValueError, RecursionError, IndexError):
            continue
        lines[place] = changed.encode(errors="replace")
        if len(lines) > 1 or text.endswith(b"\n"):
            lines[place] += b"\n"
        return b"".join(lines)
    return None


def _edited(root: Any, rng: random.Random) -> Any:
    places = list(_places(root))
    if not places:
        return _copied(rng.choice(_ODD))
    container, key = rng.choice(places)
    match rng.randrange(6):
        case 0:
            del container[key]
        case 1 | 2:
            container[key] = _copied(rng.choice(_ODD))
        case 3:  # a value from elsewhere in it
            other, its_key = rng.choice(places)
            container[key] = _copied(other[its_key])
        case 4 if isinstance(container, list):
            container.insert(key, _copied(container[key]))
        case 5 if isinstance(container[key], int | float):
            container[key] += rng.choice((-1, 1, 1000))
        case _:
            container[key] = [container[key]]
    return root


def _places(value: Any, level: int = 0) -> Any:
    """Each container in ``value``, with each of its keys."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        yield value, key
        if level < 20:
            yield from _places(value[key], level + 1)


def _copied(value: Any) -> Any:
    return json.loads(json.dumps(value)) if len(str(value)) < _MOST_BYTES else None
