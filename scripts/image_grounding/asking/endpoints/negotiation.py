# SPDX-License-Identifier: Apache-2.0
"""Parameters are negotiated: what an endpoint refuses is left out from then on.

No list of models stays true, so nothing is assumed. A refusal is believed for the question that
it met; only when the question is then answered does it count for the whole endpoint.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from image_grounding.asking.endpoints.token_limit import lower_limit
from image_grounding.errors import EndpointError, RejectedRequestError, ServerFaultError

_REFUSED = (
    r"unsupported|not supported|unrecognized|unknown|unexpected|extra_forbidden|extra inputs"
    r"|not permitted|not allowed|invalid parameter|no such"
)
# Parameter -> what a refusal of it is recognised by, in the server's lower-case message.
_SIGNS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "thinking": re.compile(r"thinking"),
        "media_resolution": re.compile(r"media[ _]?resolution"),
        "schema": re.compile(
            r"response[ _]?format|schema|response[ _]?mime|structured output|guided|grammar"
            r"|json mode|too many states"
        ),
        "temperature": re.compile(r"temperature"),
        "max_tokens": re.compile(
            r"use\W+max_completion_tokens"
            rf"|(?:{_REFUSED}).*max_(?:completion_)?tokens"
            rf"|max_(?:completion_)?tokens.*(?:{_REFUSED})"
        ),
    }
)
# Words of a limit that is too high, which another name of it would not mend.
_TOO_HIGH = re.compile(r"too (?:large|high|big)|less than|at most|maximum|exceed|range|<=")
# What is done in place of a parameter that was refused so many times.
_INSTEAD: Mapping[tuple[str, int], str] = MappingProxyType(
    {("max_tokens", 1): "max_completion_tokens is used", ("thinking", 1): "the next one is used"}
)
_MEANING = {"thinking": "this thinking_level", "schema": "JSON-schema replies"}
# Statuses that servers give for a schema that they cannot handle, whatever they say of it.
_NAMELESS = frozenset({400, 422, 500, 501})


@dataclass(frozen=True)
class Terms:
    """On which terms a question is put.

    Attributes:
        refused: how often the endpoint refused a parameter.
        token_limit: most output tokens to ask for, whatever the question.
        own_limit: most output tokens to ask for in this very question.
    """

    refused: Mapping[str, int] = field(default_factory=dict)
    token_limit: int | None = None
    own_limit: int | None = None

    def times_refused(self, parameter: str) -> int:
        """How often the endpoint refused ``parameter``."""
        return self.refused.get(parameter, 0)

    def supports(self, parameter: str) -> bool:
        """Whether ``parameter`` may be sent."""
        return parameter not in self.refused

    def limit(self, wanted: int) -> int:
        """``wanted`` output tokens, or fewer."""
        known = (limit for limit in (self.token_limit, self.own_limit) if limit is not None)
        return min([wanted, *known])

    def without(self, parameter: str) -> "Terms":
        """The terms after another refusal of ``parameter``."""
        times = self.times_refused(parameter) + 1
        return replace(self, refused={**self.refused, parameter: times})


@dataclass(frozen=True)
class Request:
    """A question as an SDK takes it.

    Attributes:
        body: what the endpoint that made it sends.
        optional: the negotiable parameters in it.
        token_limit: the output tokens that it asks for; 0 for no limit.
        schema: name of the reply schema in it, or None.
    """

    body: Any
    optional: frozenset[str]
    token_limit: int
    schema: str | None = None


class Negotiation:
    """What one endpoint was found to refuse; shared by all requests of a run.

    Args:
        fixed: parameters that must not be given up (the user asked for them).
        say: called once with a sentence for each thing that was given up.
    """

    def __init__(self, fixed: Iterable[str] = (), say: Callable[[str], None] = print) -> None:
        self.terms = Terms()
        self._fixed = frozenset(fixed)
        self._say = say
        self._schemas_taken: set[str] = set()
        self._tried: set[str] = set()

    def concession(
        self, error: EndpointError, request: Request, terms: Terms, *, last: bool = False
    ) -> Terms | None:
        """Terms on which a refused request is worth asking again, or None.

        Args:
            error: what it met.
            request: what was asked, under ``terms``.
            terms: the terms it was asked under.
            last: no attempt is left, so that what is only a guess is worth a try.
        """
        rejected = isinstance(error, RejectedRequestError)
        if not rejected and not isinstance(error, ServerFaultError):
            return None
        message = error.server_text.lower()
        # Servers fail (500) over schemas, too, but hardly over anything else.
        optional = (request.optional if rejected else request.optional & {"schema"}) - self._fixed
        if _TOO_HIGH.search(message):
            optional -= {"max_tokens"}
        for parameter, pattern in _SIGNS.items():
            if parameter in optional and pattern.search(message):
                return terms.without(parameter)
        believed = terms.own_limit is not None
        if rejected and (lower := lower_limit(message, request.token_limit, again=believed)):
            mine = replace(terms, own_limit=lower.limit)
            return replace(mine, token_limit=lower.limit) if lower.for_all else mine
        untried = "schema" in optional and request.schema not in self._schemas_taken
        if untried and error.status in _NAMELESS and (rejected or last):
            return terms.without("schema")
        return None

    def answered(self, request: Request, terms: Terms) -> None:
        """A request was answered under ``terms``: they hold for the endpoint from now on."""
        self._tried |= {"token_limit", *request.optional, *terms.refused}
        if request.schema:
            self._schemas_taken.add(request.schema)
        for parameter, times in terms.refused.items():
            if times > self.terms.times_refused(parameter):
                refused = {**self.terms.refused, parameter: times}
                self.terms = replace(self.terms, refused=refused)
                instead = _INSTEAD.get((parameter, times), "going on without")
                what = _MEANING.get(parameter, parameter)
                self._say(f"the endpoint does not take {what}; {instead}")
        limit = self.terms.limit(terms.token_limit) if terms.token_limit else None
        if limit != self.terms.token_limit and limit is not None:
            self.terms = replace(self.terms, token_limit=limit)
            self._say(f"the endpoint allows at most {limit} output tokens; going on with those")

    def supports(self, parameters: Iterable[str]) -> dict[str, bool]:
        """For each of ``parameters`` that was tried, whether the endpoint supports it."""
        limited = self.terms.token_limit is not None
        return {
            name: not limited if name == "token_limit" else self.terms.supports(name)
            for name in parameters
            if name in self._tried
        }
