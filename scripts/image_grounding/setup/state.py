# SPDX-License-Identifier: Apache-2.0
"""What an interview knows so far, and how an answer is turned down."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from image_grounding.input.samples import Sample
    from image_grounding.setup.existing import ExistingWork


class Refused(Exception):
    """An answer cannot be used; the text says why, and holds nothing of the answer."""


class LooksLikeKeyError(Refused):
    """An answer seems to be an API key: not to be used, nor shown."""

    def __init__(self) -> None:
        super().__init__(
            "that looks like a key: put it in an environment variable and give its NAME"
        )


class Doubted(Refused):
    """An answer looks wrong, but the person may insist.

    Args:
        message: what looks wrong.
        needs_flag: off a terminal it is refused; else it only leads to a warning there.
    """

    def __init__(self, message: str, *, needs_flag: bool = False) -> None:
        super().__init__(message)
        self.needs_flag = needs_flag


@dataclass
class State:
    """An interview under way.

    Attributes:
        say: shows a line to a person.
        asking: surrounds a look over the network, which takes a while, with what is asked.
        tao: only what TAO's own schema knows may be written.
        overwrite: an existing spec may be replaced.
        unlisted_model: a model that the endpoint does not list may be written.
        previous: answers that an existing spec gives.
        gemini_base_url: where Gemini is, by an existing spec; "" for Google's own address.
        answers: those given so far, by the question's name.
        facts: what looking at an answer has brought to light, for conditions.
        samples: the first good lines of the input.
        existing: what earlier runs have left in results_dir.
        served: model names by (base_url, key variable), as far as asked for.
        warnings: what should be seen to, though the spec can be written.
    """

    say: Callable[[str], None]
    asking: Callable[[str], AbstractContextManager[object]] = nullcontext
    tao: bool = False
    overwrite: bool = False
    unlisted_model: bool = False
    previous: Mapping[str, str] = field(default_factory=dict)
    gemini_base_url: str = ""
    answers: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    samples: "list[Sample]" = field(default_factory=list)
    existing: "tuple[ExistingWork, ...]" = ()
    served: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def warn(self, message: str) -> None:
        """Show a warning and keep it for the end; the same one only once."""
        if message not in self.warnings:
            self.warnings.append(message)
            self.say(f"warning: {message}")
