# SPDX-License-Identifier: Apache-2.0
"""From answers to a spec's values, and back from a spec to answers."""

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from omegaconf import OmegaConf

from image_grounding.resources import spec_path
from image_grounding.spec import read_spec
from image_grounding.spec.secrets import EXTRAS, NO_KEY, literal_credentials

_OWN = "image_grounding"
# The keys of TAO's own schema; see the default spec, where all others are marked +.
TAO_KEYS = frozenset(
    {"results_dir", "autolabel_type"}
    | {f"{_OWN}.data.{name}" for name in ("input_jsonl", "image_root")}
    | {f"{_OWN}.workflow.{name}" for name in ("steps", "max_workers", "force_reprocess")}
    | {
        f"{_OWN}.workflow.long_video_{name}"
        for name in ("threshold_sec", "sample_fps", "max_frames")
    }
    | {f"{_OWN}.vlm.backend"}
    | {
        f"{_OWN}.vlm.gemini.{name}"
        for name in ("api_key", "model", "media_resolution", "temperature")
    }
    | {f"{_OWN}.vlm.gemini.{name}" for name in ("max_output_tokens", "timeout")}
    | {f"{_OWN}.vlm.openai.{name}" for name in ("api_key", "base_url", "model_name")}
    | {f"{_OWN}.vlm.openai.{name}" for name in ("temperature", "max_tokens", "timeout")}
)
# What each backend needs beside its input, whatever its default.
_REQUIRED = {
    "gemini": {"vlm.gemini.model"},
    "openai": {"vlm.openai.base_url", "vlm.openai.model_name"},
}
# TAO's temperature is another one, and its client fails without the text of a key.
_REQUIRED_BY_TAO = {"openai": {"vlm.openai.temperature", "vlm.openai.api_key"}}
_OPENAI_KEY = f"{_OWN}.vlm.openai.api_key"
_FOR_ONE_MODEL = (
    f"{_OWN}.vlm.coordinates",
    f"{_OWN}.vlm.prices.input",
    f"{_OWN}.vlm.prices.output",
)

Values = dict[str, Any]


def leaves(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of the spec's keys; the extras of an endpoint are one value each."""
    for name, value in values.items():
        if isinstance(value, dict) and name not in EXTRAS:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def defaults() -> Values:
    """The default spec, flat."""
    return dict(leaves(plain(OmegaConf.load(spec_path("image_grounding.yaml")))))


def plain(config: Any) -> Values:
    """A config's values with its ``${...}`` as they stand."""
    values = OmegaConf.to_container(config, resolve=False)
    assert isinstance(values, dict)
    return {str(name): value for name, value in values.items()}


def to_values(answers: Mapping[str, str], base: Mapping[str, Any], *, tao: bool) -> Values:
    """A spec's values: what is required, what differs from the defaults, and ``base``'s rest."""
    values: Values = copy.deepcopy(dict(base))
    there, usual = dict(leaves(base)), defaults()
    asked, required = _asked(answers), _required(answers, tao=tao)
    for key, value in asked.items():
        if key in required or key in there or value != usual[key]:
            _put(values, key, value)
    if tao and asked.get(_OPENAI_KEY) == "":
        _put(values, _OPENAI_KEY, NO_KEY)
    for key in required - asked.keys() - there.keys():
        _put(values, key, usual[key])
    return values


def backend_of(endpoint: str) -> str:
    """The value of ``vlm.backend`` for an answer about the endpoint."""
    return endpoint if endpoint in ("gemini", "local") else "openai"


def _asked(answers: Mapping[str, str]) -> Values:
    """The spec's keys that the answers decide."""
    backend = backend_of(answers["endpoint"])
    own: Values = {
        "data.input_jsonl": answers["input_jsonl"],
        "data.image_root": answers["image_root"],
        "workflow.steps": answers["steps"].split(","),
        "workflow.max_workers": _number(answers["max_workers"]),
        "vlm.backend": backend,
    }
    if "resume" in answers:
        own["workflow.force_reprocess"] = answers["resume"] == "fresh"
    variable = answers.get("key_variable", "")
    key = f"${{oc.env:{variable}}}" if variable else ""
    if backend == "gemini":
        # An empty key stands for this variable.
        own["vlm.gemini.api_key"] = "" if variable == "GOOGLE_API_KEY" else key
        own["vlm.gemini.model"] = answers["model"]
    elif backend == "openai":
        own["vlm.openai.api_key"] = key
        own["vlm.openai.base_url"] = answers["base_url"]
        own["vlm.openai.model_name"] = answers["model"]
    named = {f"{_OWN}.{name}": value for name, value in own.items()}
    return {"results_dir": answers["results_dir"], "autolabel_type": _OWN, **named}


def _number(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def _required(answers: Mapping[str, str], *, tao: bool) -> set[str]:
    """What a reader of the spec looks for, though it may be the default."""
    backend = backend_of(answers["endpoint"])
    own = {"data.input_jsonl", "vlm.backend", *_REQUIRED.get(backend, ())}
    own |= _REQUIRED_BY_TAO.get(backend, set()) if tao else set()
    return {"results_dir", "autolabel_type", *(f"{_OWN}.{name}" for name in own)}


def _put(values: Values, key: str, value: Any) -> None:
    *sections, name = key.split(".")
    for section in sections:
        if not isinstance(values.get(section), dict):
            values[section] = {}
        values = values[section]
    values[name] = value


def drop(values: Mapping[str, Any], keys: set[str], prefix: str = "") -> Values:
    """``values`` without these leaves, and without the sections that this empties."""
    kept: Values = {}
    for name, value in values.items():
        if f"{prefix}{name}" in keys:
            continue
        if isinstance(value, dict):
            value = drop(value, keys, f"{prefix}{name}.")
            if not value:
                continue
        kept[name] = value
    return kept


def beyond_tao(values: Mapping[str, Any]) -> list[str]:
    """Keys of ours in ``values`` that TAO's schema does not have."""
    known = {key for key, _ in leaves(values)} & defaults().keys()
    return sorted(known - TAO_KEYS)


def secrets_in(values: Mapping[str, Any]) -> list[str]:
    """Keys under which a secret is written out, instead of its variable's name."""
    written = literal_credentials(values, everywhere=True)
    passwords = (
        key for key, value in leaves(values) if key.endswith("base_url") and "@" in str(value)
    )
    return list(dict.fromkeys([*written, *passwords]))


def tied_to_model(values: Mapping[str, Any]) -> list[str]:
    """Keys in ``values`` that were right for one model and may be wrong for another."""
    there = dict(leaves(values))
    return [key for key in _FOR_ONE_MODEL if there.get(key) not in (None, "auto")]


def read_answers(values: Mapping[str, Any]) -> dict[str, str]:
    """The answers that lead to a spec, as far as it tells."""
    there = {**defaults(), **dict(leaves(values))}
    own = {key.removeprefix(f"{_OWN}."): value for key, value in there.items()}
    section = own["vlm.backend"]
    found = {
        "input_jsonl": own["data.input_jsonl"],
        "image_root": own["data.image_root"],
        "results_dir": own["results_dir"],
        "steps": ",".join(sorted(str(step) for step in own["workflow.steps"])),
        "max_workers": str(own["workflow.max_workers"]),
        "resume": "fresh" if own["workflow.force_reprocess"] is True else "resume",
        **_endpoint(section, str(own["vlm.openai.base_url"])),
    }
    if section in ("gemini", "openai"):
        variable = re.fullmatch(r"\$\{oc\.env:(\w+)(,.*)?\}", str(own[f"vlm.{section}.api_key"]))
        usual = "GOOGLE_API_KEY" if section == "gemini" else ""
        found["key_variable"] = variable[1] if variable else usual
    if section == "openai":
        found["base_url"] = own["vlm.openai.base_url"]
        found["model"] = own["vlm.openai.model_name"]
    elif section == "gemini":
        found["model"] = own["vlm.gemini.model"]
    return {name: str(value) for name, value in found.items() if value != "???"}


def gemini_base_url(values: Mapping[str, Any]) -> str:
    """Where Gemini is; "" for Google's own address."""
    return str(dict(leaves(values)).get(f"{_OWN}.vlm.gemini.base_url") or "")


def _endpoint(backend: str, base_url: str) -> dict[str, str]:
    """Which endpoint was chosen: its address tells, by the usual ports."""
    if backend != "openai":
        return {"endpoint": backend}
    try:
        parts = urlsplit(base_url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return {"endpoint": "custom"}
    if host.endswith(".nvidia.com"):
        return {"endpoint": "nim", "nim_hosting": "hosted"}
    return {"endpoint": {8080: "tao", 8000: "vllm"}.get(port or 0, "custom")}


def read_base(path: Any) -> Values:
    """An existing spec's values, as they stand; raises SpecError."""
    return plain(read_spec(path))
