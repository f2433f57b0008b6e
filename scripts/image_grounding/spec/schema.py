# SPDX-License-Identifier: Apache-2.0
"""What ``spec.schema.json`` says of a spec, in words for a person."""

from collections.abc import Iterator
from typing import Any

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


def known_keys(schema: dict[str, Any] | None = None, prefix: str = "") -> Iterator[str]:
    """Dotted names of every leaf key of the spec."""
    schema = load_schema("spec") if schema is None else schema
    for name, sub in schema["properties"].items():
        if "properties" in sub:
            yield from known_keys(sub, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def unknown_keys(values: dict[str, Any]) -> list[str]:
    """One sentence for each key of ``values`` that no spec has. Empty list means none."""
    return [_unknown_sentence(path) for path in _unknown(values, load_schema("spec"), "")]


def _unknown(values: dict[Any, Any], schema: dict[str, Any], prefix: str) -> Iterator[str]:
    for name, value in values.items():
        sub = schema["properties"].get(name)
        if sub is None:
            if prefix or name not in TAO_ONLY_KEYS:
                yield f"{prefix}{name}"
        elif "properties" in sub and isinstance(value, dict):
            yield from _unknown(value, sub, f"{prefix}{name}.")


def _unknown_sentence(path: str) -> str:
    names = list(known_keys())
    leaf = path.rpartition(".")[2]
    same_leaf = [name for name in names if name.rpartition(".")[2] == leaf]
    found = process.extractOne(path, same_leaf or names, scorer=fuzz.ratio)
    return f"unknown key {path}" + (f"; did you mean {found[0]}?" if found else "")


def coerce(values: Any, schema: dict[str, Any] | None = None) -> Any:
    """Texts become numbers or booleans where the schema wants those.

    Environment variables are always text, and TAO's own loader converts likewise.
    """
    schema = load_schema("spec") if schema is None else schema
    if isinstance(values, dict):
        subs = schema.get("properties", {})
        return {key: coerce(value, subs.get(key, {})) for key, value in values.items()}
    if isinstance(values, list) and "enum" in schema.get("items", {}):
        return [str(value) if type(value) is int else value for value in values]
    if not isinstance(values, str):
        return values
    wanted = schema.get("type", [])
    wanted = [wanted] if isinstance(wanted, str) else wanted
    booleans = {"true": True, "false": False}
    if ("boolean" in wanted or True in schema.get("enum", [])) and values.lower() in booleans:
        return booleans[values.lower()]
    for kind, convert in (("integer", int), ("number", float)):
        if kind in wanted:
            try:
                return convert(values)
            except ValueError:
                continue
    return values


def violations(values: dict[str, Any]) -> list[str]:
    """One sentence for each value that the schema does not allow. Empty list means valid."""
    errors = Draft202012Validator(load_schema("spec")).iter_errors(values)
    return [_sentence(error) for error in sorted(errors, key=lambda error: str(error.path))]


def _sentence(error: ValidationError) -> str:
    path = ".".join(str(part) for part in error.absolute_path)
    path = path or "the spec"
    secret = path.endswith("api_key")
    got = "" if secret else f", not {error.instance!r}"
    limits: Any = error.schema
    allowed: Any = error.validator_value
    match error.validator:
        case "type":
            kinds = [allowed] if isinstance(allowed, str) else allowed
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
    return f"{path}: {error.message if not secret else 'not allowed'}"
