# SPDX-License-Identifier: Apache-2.0
"""What ``spec.schema.json`` says of a spec, in words for a person."""

import math
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from rapidfuzz import fuzz, process

from image_grounding.resources import load_schema

# Top-level keys of TAO's auto_label spec that have no meaning here.
TAO_ONLY_KEYS = frozenset(
    {"gpu_ids", "num_gpus", "batch_size", "num_workers", "mal", "grounding_dino"}
    | {"video_reasoning_annotation", "image_referring_expression", "vllm_captioning"}
    | {"encryption_key", "wandb", "model_name"}
)
_OTHER_PIPELINE = (
    "autolabel_type must be image_grounding, not {!r}: TAO's other pipelines are not here; set "
    "autolabel_type=image_grounding"
)

# The SDK's own variable, for want of a base_url.
_GEMINI_ADDRESS = "GOOGLE_GEMINI_BASE_URL"
# Two names with so much in common, of 100, are meant to be the same.
_ALIKE = 70


def other_pipeline(values: Mapping[str, Any]) -> str | None:
    """A sentence where a spec is for another of TAO's pipelines: nothing else in it counts."""
    kind = values.get("autolabel_type", "image_grounding")
    other = isinstance(kind, str) and "${" not in kind and kind not in ("image_grounding", "???")
    return _OTHER_PIPELINE.format(kind) if other else None


def known_keys(schema: dict[str, Any] | None = None, prefix: str = "") -> Iterator[str]:
    """Dotted names of every key and section of the spec."""
    schema = load_schema("spec") if schema is None else schema
    for name, sub in schema["properties"].items():
        yield f"{prefix}{name}"
        if "properties" in sub:
            yield from known_keys(sub, f"{prefix}{name}.")


def without_empty_sections(
    values: dict[Any, Any], schema: dict[str, Any] | None = None
) -> dict[Any, Any]:
    """``values`` less the sections that hold nothing: their keys have all been commented out."""
    subs = (load_schema("spec") if schema is None else schema)["properties"]
    sections = {name for name in values if "properties" in subs.get(name, {})}
    return {
        name: without_empty_sections(value, subs[name])
        if name in sections and isinstance(value, dict)
        else value
        for name, value in values.items()
        if not (name in sections and value is None)
    }


def misplaced(values: dict[str, Any]) -> list[str]:
    """One sentence for each key that no spec has, or that is a section and should not be.

    The other way round too. Empty list means none.
    """
    return list(_misplaced(values, load_schema("spec"), ""))


def _misplaced(values: dict[Any, Any], schema: dict[str, Any], prefix: str) -> Iterator[str]:
    for name, value in values.items():
        path, sub = f"{prefix}{name}", schema["properties"].get(name)
        if sub is None:
            if prefix or name not in TAO_ONLY_KEYS:
                yield _unknown_sentence(path)
        elif "properties" in sub:
            if isinstance(value, dict):
                yield from _misplaced(value, sub, f"{path}.")
            else:  # without the value: "api_key:..." with no space behind the colon is one
                yield f"{path} must be a mapping of {', '.join(sub['properties'])}"
        elif sub.get("type") == "object":
            if not isinstance(value, dict | None):
                yield f"{path} must be a mapping"
        elif isinstance(value, dict):
            yield f"{path} must be one value, not a mapping"


def _unknown_sentence(path: str) -> str:
    path = re.split(r"[:=\s]", path)[0]  # what follows may be a value, and that a secret
    found = nearest_key(path)
    return f"unknown key {path}" + (f"; did you mean {found}?" if found else "")


def nearest_key(path: str) -> str | None:
    """The known key that an unknown one is most like: of its own section, or of any other."""
    section, _, leaf = path.rpartition(".")
    leaves = {name: name.rpartition(".")[2] for name in known_keys()}
    own = {name: last for name, last in leaves.items() if name.rpartition(".")[0] == section}
    found = process.extractOne(leaf, own, scorer=fuzz.WRatio, score_cutoff=_ALIKE)
    if found is None:
        same = {name: name for name, last in leaves.items() if fuzz.ratio(last, leaf) >= _ALIKE}
        everything = {name: name for name in leaves}
        found = process.extractOne(path, same or everything, scorer=fuzz.ratio)
    return found[2] if found else None


def coerce(values: Any, schema: dict[str, Any] | None = None) -> Any:
    """Texts become numbers or booleans where the schema wants those, nothing an empty text.

    Environment variables are always text, and TAO's own loader converts likewise.
    """
    schema = load_schema("spec") if schema is None else schema
    if isinstance(values, dict):
        subs = schema.get("properties", {})
        return {str(key): coerce(value, subs.get(key, {})) for key, value in values.items()}
    if isinstance(values, list) and schema.get("items") == {"type": "string"}:
        return [str(value) if type(value) is int else value for value in values]
    wanted = [kind for option in schema.get("anyOf", [schema]) for kind in _kinds(option)]
    if values is None and wanted == ["string"]:
        return ""  # "api_key:" or "api_key="
    if values is None and wanted == ["object"]:
        return {}
    if isinstance(values, float) and "integer" in wanted and values.is_integer():
        return int(values)
    if isinstance(values, float) and not math.isfinite(values):
        return str(values)  # no number that the schema could compare
    if not isinstance(values, str):
        return values
    booleans = {"true": True, "false": False}
    if ("boolean" in wanted or True in schema.get("enum", [])) and values.lower() in booleans:
        return booleans[values.lower()]
    for kind, convert in (("integer", int), ("number", float)):
        if kind in wanted:
            try:
                number = convert(values)
            except ValueError:
                continue
            return number if math.isfinite(number) else values
    return values


def _kinds(schema: dict[str, Any]) -> list[str]:
    kinds: str | list[str] = schema.get("type", [])
    return [kinds] if isinstance(kinds, str) else kinds


def violations(values: dict[str, Any]) -> list[str]:
    """One sentence for each value that the schema does not allow. Empty list means valid."""
    errors = Draft202012Validator(load_schema("spec")).iter_errors(values)
    found = [_sentence(error) for error in sorted(errors, key=lambda error: str(error.path))]
    own = values["image_grounding"]
    found += _unknown_steps(own["workflow"]["steps"])
    return found or list(_bad_addresses(own["vlm"]))


def _unknown_steps(steps: Any) -> Iterator[str]:
    """The table of steps may have grown since the schema was written."""
    from image_grounding.steps.table import all_steps

    known = [step.number for step in all_steps()]
    for position, number in enumerate(steps if isinstance(steps, list) else ()):
        if isinstance(number, str) and number not in known:
            path = f"image_grounding.workflow.steps.{position}"
            yield f"{path} must be one of {', '.join(known)}, not {number!r}"


def _bad_addresses(vlm: dict[str, Any]) -> Iterator[str]:
    given = {
        f"image_grounding.vlm.{name}.base_url": vlm[name]["base_url"]
        for name in ("gemini", "openai")
    }
    if vlm["backend"] == "gemini" and not vlm["gemini"]["base_url"]:
        given[_GEMINI_ADDRESS] = os.environ.get(_GEMINI_ADDRESS, "")
    for name, url in given.items():
        try:
            parts = urlsplit(url.strip())
            whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
            good = not url.strip() or whole
        except ValueError:
            good = False
        if not good:  # without the value: it may hold a password
            yield f"{name} must be an address such as http://localhost:8000/v1"


def _sentence(error: ValidationError) -> str:
    path = ".".join(str(part) for part in error.absolute_path)
    path = re.split(r"[:=\s]", path)[0] or "the spec"  # what follows may be a key's value
    secret = path.endswith(("api_key", "base_url")) or ".extra_" in path
    got = "" if secret else f", not {error.instance!r}"
    limits: Any = error.schema
    allowed: Any = error.validator_value
    match error.validator:
        case "type":
            kinds = [allowed] if isinstance(allowed, str) else allowed
            return f"{path} must be {' or '.join(kinds)}{got}"
        case "anyOf":
            # What the number lacks, where it is one; else what there is to choose from.
            inner = [
                part for part in error.context or () if part.validator not in ("const", "type")
            ]
            if inner:
                return _sentence(inner[0])
            kinds = [option.get("const") or option["type"] for option in allowed]
            return f"{path} must be {' or '.join(kinds)}{got}"
        case "enum":
            return f"{path} must be one of {', '.join(map(str, allowed))}{got}"
        case "const":
            return f"{path} must be {allowed}{got}"
        case "minLength":
            return f"{path} is required"
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum":
            low = limits.get("minimum", limits.get("exclusiveMinimum"))
            high = limits.get("maximum")
            above = "above" if "exclusiveMinimum" in limits else "at least"
            bounds = [f"{above} {low}"] if low is not None else []
            bounds += [f"at most {high}"] if high is not None else []
            return f"{path} must be {' and '.join(bounds)}{got}"
        case "minItems":
            return f"{path} must not be empty"
        case "uniqueItems":
            return f"{path} must not name anything twice{got}"
        case "pattern":
            return f"{path} must be plain ASCII on one line, and a name there one word"
        case "not":
            return f"{path} must not hold {error.instance}, which the pipeline sets itself"
    return f"{path}: {error.message if not secret else 'not allowed'}"
