# SPDX-License-Identifier: Apache-2.0
"""From what was typed to an answer, fast enough for every keystroke.

Each function returns the answer in its one normal form, or raises Refused.
"""

import os
import re
from functools import lru_cache
from os.path import abspath, dirname, exists, isdir, isfile
from urllib.parse import urlencode, urlsplit

from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from image_grounding.addresses import split_query, trim_base_url
from image_grounding.errors import SpecError
from image_grounding.setup.state import LooksLikeKeyError, Refused, State
from image_grounding.spec import load_spec
from image_grounding.spec.secrets import HARMLESS_QUERY
from image_grounding.storage.address import is_address, problem_with

_KEY_PREFIXED = re.compile(r"(?:nvapi-|AIza|sk-|hf_|gsk_|xai-|Bearer\s)[\w.~+/=-]{8,}", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def parse_text(text: str, state: State) -> str:
    """Any text on one line."""
    text = text.strip()
    if _KEY_PREFIXED.fullmatch(text):
        raise LooksLikeKeyError
    if not text:
        raise Refused("an answer is needed")
    if re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", text):
        raise Refused("there is a control character or a line break in it")
    return text


def resolved(text: str) -> str:
    """``text`` with ``${oc.env:NAME}`` filled in, as the run will read it."""
    try:
        return str(OmegaConf.create({"it": text}).it)
    except MissingMandatoryValue:
        raise Refused("an answer is needed") from None
    except (OmegaConfBaseException, RecursionError):
        raise Refused("the ${...} in it cannot be filled in; is the variable set?") from None


def parse_path(text: str, state: State) -> str:
    """A path; ``~`` is the home folder."""
    path = os.path.expanduser(parse_text(text, state))
    resolved(path)
    return path


def parse_input(text: str, state: State) -> str:
    """A file that is there."""
    path = parse_path(text, state)
    if _is_good_address(resolved(path), state):
        return path
    if not isfile(resolved(path)):
        raise Refused("it is a folder" if isdir(resolved(path)) else "there is no such file")
    return path


def parse_folder(text: str, state: State) -> str:
    """A folder that is there, or nothing."""
    if not text.strip():
        return ""
    path = parse_path(text, state)
    if _is_good_address(resolved(path), state):
        return path
    if not isdir(resolved(path)):
        raise Refused("it is a file" if isfile(resolved(path)) else "there is no such folder")
    return path


def _is_good_address(text: str, state: State) -> bool:
    """Whether it is an address at which something can be read; one at which nothing can stands not.

    TAO knows none.
    """
    if not is_address(text):
        return False
    if state.tao:
        raise Refused("TAO reads files alone, no addresses")
    if problem := problem_with(text):
        raise Refused(problem)
    return True


def parse_results_dir(text: str, state: State) -> str:
    """A folder that is there and can be written, or can be made."""
    path = parse_path(text, state)
    if is_address(resolved(path)):
        raise Refused("a folder here; an address can be written into the spec by hand")
    above = abspath(resolved(path))
    while not exists(above):
        above = dirname(above)
    if not isdir(above):
        raise Refused("it is a file, or in one")
    if not os.access(above, os.W_OK | os.X_OK):
        raise Refused("there is no permission to write there")
    return path


def parse_spec_path(text: str, state: State) -> str:
    """A file that can be written in a folder that is there."""
    path = parse_path(text, state)
    if "${" in path:
        raise Refused("variables are only filled in inside a spec")
    if isdir(path):
        raise Refused("it is a folder")
    if not isdir(dirname(abspath(path))):
        raise Refused("there is no such folder to write it in")
    return path


def parse_base_url(text: str, state: State) -> str:
    """An address up to and with ``/v1``; of a query only what is no secret."""
    text = parse_text(text, state)
    if "${" in text:
        resolved(text)
        return text
    url = text if "://" in text else f"http://{text}"
    url, query = split_query(trim_base_url(url))
    url = re.sub(r"/(models|completions|responses)$", "", url.rstrip("/"))
    url = re.sub(r"(/v1)+$", "/v1", url)
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        good = False
    if not good or re.search(r"\s", url):
        raise Refused("it must be an address such as http://localhost:8000/v1")
    if "@" in parts.netloc or "#" in text or query.keys() - set(HARMLESS_QUERY):
        raise Refused(
            "a password or a query in an address does not go into a spec; "
            "vlm.openai.extra_query takes it from the environment"
        )
    url = url if parts.path.strip("/") else f"{parts.scheme}://{parts.netloc}/v1"
    return f"{url}?{urlencode(query)}" if query else url


def parse_key_variable(text: str, state: State) -> str:
    """The name of an environment variable, or nothing where no key is needed."""
    name = text.strip().removeprefix("$")
    if not name:
        return ""
    known = name in os.environ
    random = len(name) >= 20 and re.search(r"\d", name) and not re.fullmatch(r"[A-Z\d]+_\w+", name)
    if _KEY_PREFIXED.fullmatch(name) or (random and not known):
        raise LooksLikeKeyError
    if not _VARIABLE.fullmatch(name):
        raise Refused("a variable's name has only letters, digits and _, such as NVIDIA_API_KEY")
    return name


def parse_max_workers(text: str, state: State) -> str:
    """What the spec's schema allows for it."""
    text = parse_text(text, state)
    if state.tao and text == "auto":
        raise Refused("auto is unknown to TAO: --tao needs a number")
    return _max_workers(text)


@lru_cache(16)
def _max_workers(text: str) -> str:
    """As above; a terminal asks for the same text many times."""
    given = ["results_dir=x", "data.input_jsonl=x", f"workflow.max_workers={text}"]
    try:
        return str(load_spec(None, given).workflow.max_workers)
    except SpecError as error:
        raise Refused(str(error).partition("max_workers ")[2] or "it must be a number") from None
