# SPDX-License-Identifier: Apache-2.0
"""From YAML, overrides and the environment to a ``Spec``."""

import pickle
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    GrammarParseError,
    InterpolationKeyError,
    OmegaConfBaseException,
    UnsupportedInterpolationType,
)

from image_grounding.addresses import safe_address, split_query, trim_base_url
from image_grounding.errors import SpecError
from image_grounding.files import require_file
from image_grounding.resources import spec_path
from image_grounding.spec.model import Data, Limits, Spec, Vlm, Workflow, build
from image_grounding.spec.schema import (
    TAO_ONLY_KEYS,
    coerce,
    misplaced,
    other_pipeline,
    violations,
    without_empty_sections,
)
from image_grounding.spec.secrets import (
    EXTRAS,
    HARMLESS_QUERY,
    Secret,
    literal_credentials,
    mark_secrets,
    redact,
)
from image_grounding.storage.address import is_address, is_web, problem_with
from image_grounding.storage.mirror import problem_with_results_at, staging_of

_SPEC_ENDINGS = (".yaml", ".yml")
# What may be an address without its scheme: no path of a file looks so.
_HOST_AND_PORT = re.compile(r"[\w.-]+:\d{2,5}(/.*)?|\[[\da-fA-F:]+\](:\d+)?(/.*)?")
_PREFIX = "image_grounding"
# Top-level names of TAO's command line that mean nothing here.
_WITHOUT_EFFECT = {"hydra", *TAO_ONLY_KEYS} - {"model_name"}  # that is meant for vlm.openai
_NO_HYDRA = "hydra.* has no effect here: results_dir is the output folder"


def load_spec(
    path: Path | None, overrides: Sequence[str] = (), *, without_keys: bool = False
) -> Spec:
    """Read a spec, lay it over the defaults, apply overrides, validate.

    Args:
        path: a YAML file, or None for the defaults and ``overrides`` alone.
        overrides: ``key=value`` texts in dot notation; values are YAML.
        without_keys: leave out the API keys and the extras, so that the variables that hold them
            need not be set.

    Raises:
        SpecError: with every problem found, one a line.
    """
    config = _merged(path, overrides)
    if without_keys:
        for backend in ("gemini", "openai"):
            OmegaConf.update(config, f"{_PREFIX}.vlm.{backend}.api_key", "")
        for name in EXTRAS:
            OmegaConf.update(config, f"{_PREFIX}.vlm.openai.{name}", {}, merge=False)
    values = coerce(_resolve(config))
    image = values[_PREFIX]["vlm"]["image"]
    image["step_0"] = image["step_0"] == "auto" or image["step_0"]  # an earlier name of true
    problems = violations(values)
    if problems:
        raise SpecError("\n".join(problems))
    results = values["results_dir"]
    url = results.rstrip("/") if is_address(results) else ""
    if url and (problem := problem_with_results_at(url)):
        raise SpecError(f"results_dir: {problem}")
    own = values[_PREFIX]
    if own["workflow"]["max_cost"] is not None and None in own["vlm"]["prices"].values():
        raise SpecError("workflow.max_cost needs vlm.prices.input and vlm.prices.output")
    if limit := own["workflow"]["shared_limit"]:
        _require_limit(limit, own["workflow"])
    written = _plain(config[_PREFIX].vlm.openai)
    own["vlm"]["openai"] = _with_extras(own["vlm"]["openai"], written)
    return Spec(
        results_dir=staging_of(url) if url else Path(results),
        results_url=url,
        data=build(Data, own["data"]),
        workflow=build(Workflow, own["workflow"]),
        vlm=build(Vlm, own["vlm"]),
        inspection=build(Limits, own["inspection"]),
        redacted=redact(values),
        notes=(_NO_HYDRA,) if any(_section(text) == "hydra" for text in overrides) else (),
    )


def _require_limit(shared: str, workflow: Mapping[str, Any]) -> None:
    """See that there is something to share, and a file or a server to share it through."""
    if _HOST_AND_PORT.fullmatch(shared):
        raise SpecError(
            f"workflow.shared_limit is {shared}: write the address of a limit server with http://, "
            "a file of such a name with ./"
        )
    if "://" in shared and not (is_web(shared) and problem_with(shared) is None):
        raise SpecError(
            "workflow.shared_limit must be a path, of a file that all runs can write, or the "
            "http:// or https:// address of a limit server, without user and password"
        )
    if "://" in shared and safe_address(shared) != shared:
        raise SpecError(
            "workflow.shared_limit must be an address without a query; the token of a limit server "
            "is read from IMAGE_GROUNDING_LIMIT_TOKEN"
        )
    if not (workflow["requests_per_minute"] or workflow["tokens_per_minute"]):
        raise SpecError(
            "workflow.shared_limit needs workflow.requests_per_minute or tokens_per_minute, which "
            "is what the runs share"
        )


def load_limits(given: Mapping[str, Any], overrides: Sequence[str] = ()) -> Limits:
    """The thresholds of an inspection alone.

    Args:
        given: what the spec of a finished run says of them; the defaults hold for the rest.
        overrides: ``name=value`` texts.

    Raises:
        SpecError: an unknown name or a value that is not allowed.
    """
    own = [f"inspection.{name}={value}" for name, value in given.items()]
    own += [f"inspection.{text.removeprefix('inspection.')}" for text in overrides]
    return load_spec(None, ["results_dir=.", "data.input_jsonl=unread", *own]).inspection


def _with_extras(openai: dict[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """The openai section with its secrets marked and the query of its address among its extras.

    Args:
        openai: the section, valid.
        written: the same as it was written, with its ``${...}``.
    """
    address, query = split_query(trim_base_url(openai["base_url"]))
    hidden = {name: Secret(value) for name, value in query.items() if name not in HARMLESS_QUERY}
    own = {
        name: value if isinstance(value, str) else str(value).lower()  # a number, or true
        for name, value in openai["extra_query"].items()
    }
    return {
        **openai,
        "base_url": address,
        "extra_body": mark_secrets(openai["extra_body"], written["extra_body"]),
        "extra_query": {**query, **hidden, **mark_secrets(own, written["extra_query"])},
        "extra_headers": mark_secrets(openai["extra_headers"], written["extra_headers"]),
    }


def _merged(path: Path | None, overrides: Sequence[str]) -> DictConfig:
    """Defaults, file and overrides laid over each other; nothing is filled in yet."""
    from_file = _plain(read_spec(path)) if path else {}
    for name in TAO_ONLY_KEYS & from_file.keys():
        del from_file[name]
    layers = [without_empty_sections(layer) for layer in (from_file, _parse(overrides))]
    if other := other_pipeline({name: value for layer in layers for name, value in layer.items()}):
        raise SpecError(other)
    problems = [problem for layer in layers for problem in misplaced(layer)]
    if problems:
        raise SpecError("\n".join(dict.fromkeys(problems)))
    try:
        config = OmegaConf.unsafe_merge(_defaults(), *layers)  # into a copy
    except TypeError:  # only extra_body leaves that open
        raise SpecError("extra_body: a list in one place and a mapping in another") from None
    assert isinstance(config, DictConfig)
    return config


def _defaults() -> DictConfig:
    """A copy of the default spec."""
    config: DictConfig = pickle.loads(_pickled_defaults())
    return config


@cache
def _pickled_defaults() -> bytes:
    # To copy a config as OmegaConf does takes seven times as long.
    return pickle.dumps(OmegaConf.load(spec_path("image_grounding.yaml")))


def read_spec(path: Path) -> DictConfig:
    """What a spec file says, as it stands: no defaults, no variables filled in.

    Raises:
        SpecError: it cannot be read, or is no YAML mapping.
    """
    try:
        require_file(path, once=True)
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
        problem = _unquoted(getattr(error, "problem", None) or "unreadable")
        raise SpecError(f"{path}{where}: not valid YAML ({problem})") from None
    except RecursionError:
        raise SpecError(f"{path}: not valid YAML (nested too deep)") from None
    except OmegaConfBaseException as error:
        raise SpecError(f"{path}: {_reason(error)}") from None
    assert isinstance(config, DictConfig)
    return config


def _section(override: str) -> str:
    """The first part of an override's key."""
    return re.split(r"[.\[=]", override.lstrip("+"))[0]


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parse(overrides: Sequence[str]) -> dict[Any, Any]:
    items = []
    for text in overrides:
        key, equals, value = text.partition("=")
        key = key.lstrip("+")
        if not _is_text(text):
            raise SpecError(
                f"{key!r}: what is no UTF-8 can only come from the environment: ${{oc.env:NAME}}"
            )
        if not equals or not key:
            hint = f"; a spec file is given with -e {key}" if key.endswith(_SPEC_ENDINGS) else ""
            raise SpecError(f"an override is key=value, not {key.partition(':')[0]!r}{hint}")
        if _section(text) not in _WITHOUT_EFFECT:
            whole = _section(text) in (_PREFIX, "results_dir", "autolabel_type")
            items.append(f"{key}={value}" if whole else f"{_PREFIX}.{key}={value}")
    try:
        config = OmegaConf.from_dotlist(items)
    except (OmegaConfBaseException, yaml.YAMLError, RecursionError) as error:
        raise SpecError(f"cannot read the overrides: {_reason(error)}") from None
    values = _plain(config)
    for key in literal_credentials(values):
        raise SpecError(
            f"{key}: a key on the command line can be read by every user of the machine; "
            f"put it in an environment variable and pass {key}='${{oc.env:NAME}}'"
        )
    return values


def _plain(config: DictConfig) -> dict[Any, Any]:
    values = OmegaConf.to_container(config, resolve=False)
    assert isinstance(values, dict)
    return values


def _forget_unused_backends(config: DictConfig) -> None:
    """Put defaults for the backends not in use: their variables need not be set."""
    defaults, backend = _defaults(), OmegaConf.select(config, f"{_PREFIX}.vlm.backend")
    for name in ("gemini", "openai", "local"):
        if name != backend:
            key = f"{_PREFIX}.vlm.{name}"
            OmegaConf.update(config, key, OmegaConf.select(defaults, key), merge=False)


def _resolve(config: DictConfig) -> dict[str, Any]:
    try:
        _forget_unused_backends(config)
        missing = sorted(_missing(_plain(config)))
        if missing:
            raise SpecError(
                "\n".join(f"{key} is required, in the spec (-e) or as key=value" for key in missing)
            )
        values = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise SpecError(f"{error.full_key}: {_reason(error)}") from None
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _missing(values: dict[Any, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _missing(value, f"{prefix}{name}.")
        elif value == "???":
            yield f"{prefix}{name}"


def _reason(error: Exception) -> str:
    """What is wrong, without a word of the spec's own that may be a key."""
    text = str(error).strip().partition("\n")[0]
    if "Environment variable" in text:
        # Only what looks like a name: somebody may have written a key in its place.
        name = re.search(r"'([A-Z_][A-Z0-9_]*)' not found", text)
        return f"the environment variable {name[1] if name else 'named there'} is not set"
    if isinstance(error, GrammarParseError | InterpolationKeyError | UnsupportedInterpolationType):
        return "${...} cannot be resolved; an environment variable is ${oc.env:NAME}"
    return _unquoted(text)


def _unquoted(text: str) -> str:
    return re.sub(r"'[^'\\<]*'", "...", text)
