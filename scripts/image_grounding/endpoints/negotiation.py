# SPDX-License-Identifier: Apache-2.0
"""Parameters are negotiated: what an endpoint refuses by name is left out from then on.

No list of models stays true, so nothing is assumed; a 400 that names a parameter is believed.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

# Parameter -> what a refusal of it is recognised by, in the server's lower-case message.
_SIGNS: Mapping[str, re.Pattern[str]] = {
    "thinking": re.compile(r"thinking"),
    "media_resolution": re.compile(r"media[ _]?resolution"),
    "schema": re.compile(
        r"response[ _]?format|json[ _]?schema|response[ _]?(mime|schema)|structured output"
        r"|guided|grammar|json mode"
    ),
    "temperature": re.compile(r"temperature"),
    "max_tokens": re.compile(r"max_tokens.*max_completion_tokens|unsupported.*max_tokens"),
    "token_limit": re.compile(r"max_(completion_|output_)?tokens|maxoutputtokens|context length"),
}
_MEANING = {
    "thinking": "thinking_level",
    "schema": "JSON-schema replies",
    "max_tokens": "max_tokens (max_completion_tokens is used)",
    "token_limit": "so many output tokens (half of them are asked for)",
}


@dataclass(frozen=True)
class Taken:
    """Whether an endpoint takes a parameter, for the health checker's table."""

    parameter: str
    taken: bool


class Negotiation:
    """What one endpoint was found to refuse; shared by all requests of a run.

    Args:
        fixed: parameters that must not be given up (the user asked for them).
        say: called once with a sentence for each thing that was given up.
    """

    def __init__(self, fixed: Iterable[str] = (), say: Callable[[str], None] = print) -> None:
        self._fixed = frozenset(fixed)
        self._refused: dict[str, int] = {}
        self._say = say

    def times_refused(self, parameter: str) -> int:
        """How often an endpoint made us give in on ``parameter``."""
        return self._refused.get(parameter, 0)

    def takes(self, parameter: str) -> bool:
        """Whether ``parameter`` may be sent."""
        return parameter not in self._refused

    def give_in(self, message: str, sent: Mapping[str, int]) -> bool:
        """Note what a refusal names, so that asking again makes sense.

        Args:
            message: the server's message.
            sent: parameters that were in the request, each with ``times_refused`` as it was
                when the request was made: others may have given in meanwhile.

        Returns:
            Whether the same question, asked again, would differ.
        """
        low = message.lower()
        for parameter, pattern in _SIGNS.items():
            if parameter in sent and parameter not in self._fixed and pattern.search(low):
                if sent[parameter] == self.times_refused(parameter):
                    self._refused[parameter] = sent[parameter] + 1
                    what = _MEANING.get(parameter, parameter)
                    self._say(f"the endpoint does not take {what}; going on without")
                return True
        return False

    def report(self, parameters: Iterable[str]) -> list[Taken]:
        """What the endpoint takes, of ``parameters``."""
        return [Taken(name, self.takes(name)) for name in parameters]
