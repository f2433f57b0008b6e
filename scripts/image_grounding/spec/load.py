# SPDX-License-Identifier: Apache-2.0
"""From YAML, overrides and the environment to a ``Spec``."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from image_grounding.errors import SpecError
from image_grounding.resources import spec_path
from image_grounding.spec.model import Data, Spec, Vlm, Workflow, build
from image_grounding.spec.schema import TAO_ONLY_KEYS, coerce, unknown_keys, violations

_PREFIX = "image_grounding"


def load_spec(path: Path | None, overrides: Sequence[str] = ()) -> Spec:
    """Read a spec, lay it over the defaults, apply overrides, validate.

    Args:
        path: a YAML file, or None for the defaults and ``overrides`` alone.
        overrides: ``key=value`` texts in dot notation; values are YAML.

    Raises:
        SpecError: with every problem found, one a line.
    """
    config = OmegaConf.merge(_defaults(), _read(path) if path else {}, _parse(overrides))
    assert isinstance(config, DictConfig)
    problems = unknown_keys(_plain(config))
    if problems:
        raise SpecError("\n".join(problems))
    _forget_unused_backends(config)
    values = coerce(_resolve(config))
    problems = violations(values)
    if problems:
        raise SpecError("\n".join(problems))
    own = values[_PREFIX]
    own["vlm"]["openai"]["base_url"] = trim_base_url(own["vlm"]["openai"]["base_url"])
    return Spec(
        results_dir=Path(values["results_dir"]),
        data=build(Data, own["data"]),
        workflow=build(Workflow, own["workflow"]),
        vlm=build(Vlm, own["vlm"]),
        redacted=redact(values),
    )


def trim_base_url(url: str) -> str:
    """``url`` without white space, a trailing slash, or ``/chat/completions``."""
    return url.strip().rstrip("/").removesuffix("/chat/completions").rstrip("/")


def redact(values: dict[str, Any]) -> dict[str, Any]:
    """A copy of plain spec values without keys, nor user names and queries in addresses."""

    def clean(value: Any, name: str) -> Any:
        if isinstance(value, dict):
            return {key: clean(item, key) for key, item in value.items()}
        if name == "api_key":
            return "(set)" if value else ""
        if name == "base_url" and isinstance(value, str):
            parts = urlsplit(value)
            return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
        return value

    result: dict[str, Any] = clean(values, "")
    return result


@cache
def _defaults() -> DictConfig:
    config = OmegaConf.load(spec_path("image_grounding.yaml"))
    assert isinstance(config, DictConfig)
    return config


def _read(path: Path) -> DictConfig:
    try:
        text = path.read_text(encoding="utf-8-sig")
        values = yaml.safe_load(text)
        if not isinstance(values, dict):
            raise SpecError(f"{path} must hold a YAML mapping with results_dir and so on")
        config = OmegaConf.create(text)
    except OSError as error:
        raise SpecError(f"cannot read the spec {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise SpecError(f"the spec {path} is not UTF-8 text") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        # Not the error's own text: it quotes the line, which may hold a key.
        raise SpecError(
            f"{path}{where}: not valid YAML ({getattr(error, 'problem', None) or 'unreadable'})"
        ) from None
    except OmegaConfBaseException as error:
        raise SpecError(f"{path}: {_first_line(error)}") from None
    assert isinstance(config, DictConfig)
    for name in TAO_ONLY_KEYS & set(config):
        del config[str(name)]
    return config


def _parse(overrides: Sequence[str]) -> DictConfig:
    items = []
    for text in overrides:
        key, equals, value = text.partition("=")
        key = key.lstrip("+")
        if not equals or not key:
            raise SpecError(f"an override is key=value, not {key!r}")
        if key not in ("results_dir", "autolabel_type") and not key.startswith(f"{_PREFIX}."):
            key = f"{_PREFIX}.{key}"
        if key.endswith(".api_key") and value and "${" not in value:
            raise SpecError(
                f"{key}: a key on the command line can be read by every user of the machine; "
                f"put it in an environment variable and pass {key}='${{oc.env:NAME}}'"
            )
        items.append(f"{key}={value}")
    try:
        return OmegaConf.from_dotlist(items)
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise SpecError(f"cannot read the overrides: {_first_line(error)}") from None


def _plain(config: DictConfig) -> dict[str, Any]:
    values = OmegaConf.to_container(config, resolve=False)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _forget_unused_backends(config: DictConfig) -> None:
    """Put defaults for the backends not in use: their variables need not be set."""
    backend = OmegaConf.select(config, f"{_PREFIX}.vlm.backend")
    for name in ("gemini", "openai", "local"):
        if name != backend:
            key = f"{_PREFIX}.vlm.{name}"
            OmegaConf.update(config, key, OmegaConf.select(_defaults(), key), merge=False)


def _resolve(config: DictConfig) -> dict[str, Any]:
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise SpecError("\n".join(f"{key} is required" for key in missing))
    try:
        values = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise SpecError(f"{error.full_key}: {_first_line(error)}") from None
    except ValueError as error:
        raise SpecError(_first_line(error)) from None
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
