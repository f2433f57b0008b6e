# SPDX-License-Identifier: Apache-2.0
"""A closer look at an answer, on disk or over the network.

Each function shows what it sees, keeps what later questions need in the state, and raises
Refused or Doubted where the answer cannot stand.
"""

import os
from importlib.util import find_spec
from itertools import islice
from os.path import exists
from pathlib import Path

from rapidfuzz import process

from image_grounding.asking.endpoints.retired import retirement
from image_grounding.environment import extra_needed
from image_grounding.errors import EndpointError, InputError
from image_grounding.input.samples import BadLine, Sample, SampleReader, is_below, locate_image
from image_grounding.results.folder import ResultsFolder
from image_grounding.setup.answers import backend_of
from image_grounding.setup.existing import count_existing
from image_grounding.setup.gemini_models import GEMINI_MODELS
from image_grounding.setup.models import fit_for_boxes, list_models, reached
from image_grounding.setup.parsing import resolved
from image_grounding.setup.starting import how_to_start, reference
from image_grounding.setup.state import Doubted, Refused, State
from image_grounding.spec.capabilities import capabilities_of
from image_grounding.steps.extraction import EXTRACTION
from image_grounding.storage.address import is_address

_FIRST_LINES = 20
_SHOWN = 3
_SHOWN_LENGTH = 90
_MOST_FOLDERS = 200


def look_at_input(path: str, state: State) -> None:
    """Read the first lines as a run would, and show them; not from a store, which gives all."""
    if is_address(resolved(path)):
        return state.say("  it is read by the run; the dry run looks at it")
    try:
        items = list(islice(SampleReader(Path(resolved(path))), _FIRST_LINES))
    except InputError as error:
        raise Refused(str(error)) from None
    samples = [item for item in items if isinstance(item, Sample)]
    bad = [item for item in items if isinstance(item, BadLine)]
    if not items:
        raise Refused("it has no lines")
    if not samples:
        raise Refused(
            f"none of its first lines can be used: line {bad[0].line}: {bad[0].error}. A line is "
            '{"image_path": ..., "caption": ...}'
        )
    for sample in samples[:_SHOWN]:
        text = " ".join(f"{sample.fields['image_path']}: {sample.caption}".split())
        state.say(f"  line {sample.line}: {text[:_SHOWN_LENGTH]}")
    for line in bad[:_SHOWN]:
        state.warn(f"line {line.line} of the input cannot be used: {line.error}")
    state.samples = samples


def guess_image_root(state: State) -> str:
    """The folder below which most of the first images are; "" where none is needed."""
    if is_address(resolved(state.answers.get("input_jsonl", ""))):
        return ""
    folder = _input_folder(state)
    try:
        below = sorted(path for path in islice(folder.iterdir(), _MOST_FOLDERS) if path.is_dir())
    except OSError:
        below = []
    near = [str(path) for path in (folder, *below, *list(folder.parents)[:2])]
    return max(["", *near], key=lambda root: _found(root, state))


def _input_folder(state: State) -> Path:
    return Path(resolved(state.answers.get("input_jsonl", ""))).parent


def _found(root: str, state: State) -> int:
    return sum(exists(path) for path in _images(root, state))


def _images(root: str, state: State) -> list[Path]:
    folder = _input_folder(state)
    return [
        Path(locate_image(sample.fields["image_path"], folder, resolved(root) if root else ""))
        for sample in state.samples
    ]


def look_at_image_root(root: str, state: State) -> None:
    """See whether the first images are there; the dry run looks at addresses."""
    if is_address(resolved(root) if root else ""):
        return
    images = _images(root, state)
    missing = [path for path in images if not exists(path)]
    if images and len(missing) == len(images):
        raise Doubted(f"none of the first {len(images)} images is there, such as {missing[0]}")
    if missing:
        state.warn(
            f"{len(missing)} of the first {len(images)} images are missing, such as {missing[0]}"
        )
    elif images:
        state.say(f"  the first {len(images)} images are there")
    paths = [sample.image_path for sample in state.samples]
    if root and not all(is_below(path, resolved(root)) for path in paths):
        state.warn("images are outside of that folder: a run needs data.allow_outside_root=true")


def look_at_endpoint(endpoint: str, state: State) -> None:
    """The embedded annotator is ours alone, and needs its packages."""
    if capabilities_of(backend_of(endpoint)).needs_endpoint:
        return
    if state.tao:
        raise Refused("the embedded annotator is not part of TAO: --tao needs another endpoint")
    if not (find_spec("onnxruntime") and find_spec("numpy")):
        state.warn(extra_needed("the embedded annotator", "local"))


def look_at_running(running: str, state: State) -> None:
    """Say how to start a server that does not run yet."""
    if running == "yes":
        return
    if how := how_to_start({**state.answers, "running": running}):
        state.say(f"  to start it: {how}")
        state.say(f"  more in {reference(state.answers['endpoint'])}")
    state.warn("the server does not run yet: start it before the run")


def look_at_base_url(url: str, state: State) -> None:
    """See whether a server answers there."""
    if not _may_ask(state):
        return
    try:
        with state.asking("the server"):
            list_models("openai", resolved(url), "")
    except EndpointError as error:
        if not reached(error):
            raise Doubted(str(error)) from None
        if error.status == 404:
            state.warn("the server answers but lists no models; is /v1 right in its address?")
            return
    state.say("  the server answers")


def look_at_key_variable(name: str, state: State) -> None:
    """Whether the variable is set; never what is in it."""
    if not name:
        return
    if os.environ.get(name):
        state.say(f"  {name} is set")
    elif name == "GOOGLE_API_KEY" and os.environ.get("GEMINI_API_KEY"):
        state.say(f"  {name} is not set, but GEMINI_API_KEY is, and will be used")
    else:
        raise Doubted(f"the environment variable {name} is not set: export it before the run")


def offered_models(state: State) -> tuple[str, ...]:
    """The models that the endpoint offers; none where that cannot be found out."""
    served = _served(state)
    if state.answers.get("endpoint") != "gemini":
        return served
    return fit_for_boxes(served) or GEMINI_MODELS


def _served(state: State) -> tuple[str, ...]:
    """The names that the endpoint lists, asked for once; none where it cannot be asked."""
    gemini = state.answers.get("endpoint") == "gemini"
    if not gemini and ("base_url" not in state.answers or not _may_ask(state)):
        return ()
    base_url = state.gemini_base_url if gemini else state.answers["base_url"]
    asked = (resolved(base_url), state.answers.get("key_variable", ""))
    if asked not in state.served:
        state.served[asked] = ()
        try:
            with state.asking("the endpoint's models"):
                state.served[asked] = list_models("gemini" if gemini else "openai", *asked)
        except EndpointError as error:
            if gemini:
                state.say(f"  Google's own list could not be had: {error}")
                state.say("  these are the models known in November 2026")
            else:
                state.warn(f"the endpoint's models cannot be listed: {error}")
    return state.served[asked]


def _may_ask(state: State) -> bool:
    return state.answers.get("running", "yes") == "yes"


def only_model(state: State) -> str | None:
    """The offered model, where there is just one."""
    offered = offered_models(state)
    return offered[0] if len(offered) == 1 else None


def look_at_model(name: str, state: State) -> None:
    """Whether the endpoint offers it, and goes on doing so."""
    gemini = state.answers.get("endpoint") == "gemini"
    offered, served = offered_models(state), _served(state)
    fate = retirement(name) if gemini else None
    unlisted = bool(served) and name not in served
    if fate and (" is gone" in fate or unlisted):
        raise Doubted(fate, needs_flag=unlisted and not state.unlisted_model)
    if fate:
        return state.warn(fate)
    if not offered or name in offered or name.removeprefix("models/") in served:
        return
    nearest = ", ".join(found[0] for found in process.extract(name, offered, limit=3))
    if gemini and not served:
        raise Doubted(f"that is none of the known Gemini models; nearest are {nearest}")
    raise Doubted(
        f"the endpoint does not list that model; it lists {nearest}; --unlisted-model keeps it",
        needs_flag=not state.unlisted_model,
    )


def look_at_results_dir(path: str, state: State) -> None:
    """Count what is finished there."""
    folder = Path(resolved(path))
    state.existing = count_existing(folder)
    finished = any(work.finished for work in state.existing)
    state.facts["existing_results"] = "yes" if finished else "no"
    for work in state.existing:
        state.say(f"  {work.step.folder_name}: {work.finished} finished, {work.failed} failed")
    step_0 = ResultsFolder(folder).records(EXTRACTION)
    if state.answers.get("steps") == "1" and not step_0.is_file():
        state.warn(f"step 1 alone needs the output of step 0 at {step_0}")


def look_at_resume(answer: str, state: State) -> None:
    """Warn of what asking everything again means for the runs that follow."""
    if answer == "fresh":
        state.warn(
            "force_reprocess is true in this spec: every run with it asks for everything again, "
            "also after an interruption; set it to false once a run has ended well"
        )


def look_at_spec_path(path: str, state: State) -> None:
    """Doubt a file that would be replaced."""
    if exists(path) and not state.overwrite:
        raise Doubted("that file exists; --overwrite replaces it", needs_flag=True)
