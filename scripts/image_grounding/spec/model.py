# SPDX-License-Identifier: Apache-2.0
"""The spec as frozen, typed values. Names follow ``specs/schemas/spec.schema.json``."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_type_hints

from image_grounding.spec.secrets import SHORTEST, secrets_of
from image_grounding.storage.address import root_of

Backend = Literal["gemini", "openai", "local"]
AutoBool = Literal["auto", True, False]
# Where ``max_workers: auto`` begins, and as far as it goes.
FIRST_WORKERS, MOST_WORKERS_FOUND = 4, 1024


@dataclass(frozen=True)
class Data:
    """Input file, the prefix of its relative image paths, and whether others are read, too."""

    input_jsonl: str
    image_root: str
    allow_outside_root: bool
    allow_urls: bool

    @property
    def root(self) -> str:
        """Where relative image paths start, as far as the spec says: beside an input in a store."""
        return root_of(self.image_root, self.input_jsonl)


@dataclass(frozen=True)
class Workflow:
    """Which steps run, and how many requests at once."""

    steps: list[str]
    max_workers: int | Literal["auto"]
    force_reprocess: bool
    reread: bool
    single_pass: bool
    captions_per_request: int
    max_attempts: int
    requests_per_minute: float | None
    tokens_per_minute: float | None
    shared_limit: str | None
    max_outage: float
    max_requests: int | None
    max_cost: float | None

    @property
    def in_single_pass(self) -> bool:
        """Whether one request asks for what steps 0 and 1 ask for; it takes both of them."""
        return self.single_pass and {"0", "1"} <= set(self.steps)

    @property
    def captions_together(self) -> int:
        """Captions of one picture that one request of step 0 may ask about."""
        return 1 if self.in_single_pass or "0" not in self.steps else self.captions_per_request

    @property
    def first_workers(self) -> int:
        """Requests that may be in flight at once; ``auto`` may find more."""
        return FIRST_WORKERS if self.max_workers == "auto" else self.max_workers


@dataclass(frozen=True)
class Gemini:
    """Settings of the ``gemini`` backend; ``timeout`` in seconds."""

    api_key: str = field(repr=False)
    model: str
    media_resolution: str
    temperature: float | None
    max_output_tokens: int
    timeout: float
    base_url: str = field(repr=False)  # may hold a password
    thinking_level: str

    @property
    def address(self) -> str:
        """Of the API: the spec's, else that of the SDK's own variable; empty for Google's."""
        return self.base_url or os.environ.get("GOOGLE_GEMINI_BASE_URL", "")


@dataclass(frozen=True)
class OpenAI:
    """Settings of the ``openai`` backend; ``timeout`` in seconds.

    The extras are passed on with every request: at the top of its body, in its address (with the
    query that ``base_url`` was given with), among its headers. What is secret in them is a
    ``Secret``.
    """

    api_key: str = field(repr=False)
    base_url: str = field(repr=False)  # may hold a password
    model_name: str
    temperature: float | None
    max_tokens: int
    timeout: float
    extra_body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    extra_query: Mapping[str, str] = field(default_factory=dict, repr=False)
    extra_headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def extra_secrets(self) -> tuple[str, ...]:
        """What the extras hold that must be shown nowhere; short words are no secrets."""
        texts = secrets_of(self.extra_body, self.extra_query, self.extra_headers)
        words = [word for text in texts for word in text.split()]  # "Bearer KEY" is two
        return tuple(word for word in words if len(word) >= SHORTEST)


@dataclass(frozen=True)
class Local:
    """Settings of the embedded annotator."""

    score_threshold: float


@dataclass(frozen=True)
class ImageTransport:
    """How images travel."""

    max_pixels: int | None
    step_0: bool
    step_0_max_pixels: int | None


@dataclass(frozen=True)
class Prices:
    """Per million tokens; None where unknown."""

    input: float | None
    output: float | None


@dataclass(frozen=True)
class Vlm:
    """The model that annotates."""

    backend: Backend
    gemini: Gemini
    openai: OpenAI
    local: Local
    coordinates: str
    coordinates_trusted: bool
    structured_output: AutoBool
    image: ImageTransport
    prices: Prices

    @property
    def base_url(self) -> str:
        """Address of the API in use; empty for Google's own."""
        return {"gemini": self.gemini.address, "openai": self.openai.base_url}.get(self.backend, "")

    @property
    def model(self) -> str:
        """Name of the model in use."""
        names = {"gemini": self.gemini.model, "openai": self.openai.model_name}
        return names.get(self.backend, "nanodet_g_416")


@dataclass(frozen=True)
class Limits:
    """What ``inspect.py`` judges a whole data set by: shares in 0..1, and a count of boxes."""

    failed: float
    ungrounded: float
    same_flag: float
    same_score: float
    wrong_convention: float
    lopsided: float
    min_boxes: int


@dataclass(frozen=True)
class Spec:
    """A validated spec.

    ``redacted`` is its plain form, fit for a file: no secrets. ``notes`` are sentences on what was
    given with it and has no effect. ``results_url`` is the address at which results are kept; then
    ``results_dir`` is the folder on this machine in which they are made.
    """

    results_dir: Path
    data: Data
    workflow: Workflow
    vlm: Vlm
    inspection: Limits
    redacted: dict[str, Any]
    notes: tuple[str, ...] = ()
    results_url: str = ""

    @property
    def results(self) -> str:
        """Where results are, as a person reads it."""
        return self.place(self.results_dir)

    def place(self, path: Path) -> str:
        """Where a file of the results is, as a person reads it."""
        if not self.results_url:
            return str(path)
        below = path.relative_to(self.results_dir).as_posix()
        return self.results_url if below == "." else f"{self.results_url}/{below}"


T = TypeVar("T")


def build(cls: type[T], values: dict[str, Any]) -> T:
    """A (nested) dataclass from a mapping that the schema has found valid."""
    hints = get_type_hints(cls)
    arguments = {}
    for item in fields(cast(Any, cls)):
        value, hint = values[item.name], hints[item.name]
        nested = isinstance(hint, type) and is_dataclass(hint)
        arguments[item.name] = build(hint, value) if nested else value
    return cls(**arguments)
