# SPDX-License-Identifier: Apache-2.0
"""The interview as data: one table for the terminal, the flags, and ``--print-questions``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from image_grounding.setup.gemini_models import GEMINI_MODELS
from image_grounding.setup.state import Refused, State


class _Late:
    """Functions of a module that is loaded with the first call: ``--help`` needs none of them."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def function(*arguments: Any) -> Any:
            return getattr(import_module(self._module), name)(*arguments)

        return function


checks = _Late("image_grounding.setup.checks")
parsing = _Late("image_grounding.setup.parsing")

# Answers (or facts, see State) and the values of which each must have one.
Condition = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Choice:
    """A possible answer and what it means."""

    value: str
    text: str


@dataclass(frozen=True)
class Default:
    """An answer for when none is given; it counts where ``condition`` holds."""

    value: str
    condition: Condition | None = None


@dataclass(frozen=True)
class InterviewQuestion:
    """One question.

    Attributes:
        name: the key of its answer.
        text: what a person is asked.
        flag: the option that answers it.
        choices: the only answers there are; empty for a text.
        defaults: the first one whose condition holds is used.
        condition: it is asked where any of these holds; empty for always.
        parse: from text to the answer's normal form, at every keystroke.
        look: a closer look at an answer, once it is given.
        suggest: a default that depends on what was found so far; None for none.
        offer: answers to choose from, beside which any other can be given.
        implied: the answer that holds where it is not asked, and may be given there too.
        is_path: whether to complete paths.
    """

    name: str
    text: str
    flag: str
    choices: tuple[Choice, ...] = ()
    defaults: tuple[Default, ...] = ()
    condition: tuple[Condition, ...] = ()
    parse: Callable[[str, State], str] = parsing.parse_text
    look: Callable[[str, State], None] | None = None
    suggest: Callable[[State], str | None] | None = None
    offer: Callable[[State], tuple[str, ...]] | None = None
    implied: str | None = None
    is_path: bool = False

    def answer(self, text: str, state: State) -> str:
        """The normal form of an answer; raises Refused."""
        values = [choice.value for choice in self.choices]
        if not values:
            return self.parse(text, state)
        if text.strip() not in values:
            raise Refused(f"it must be one of {', '.join(values)}")
        return text.strip()

    def applies(self, state: State) -> bool | None:
        """Whether it is to be asked; None while that depends on answers not given."""
        return not self.condition or _any_holds(self.condition, state)

    @property
    def depends_on_answers(self) -> bool:
        """Whether its condition is about answers alone, and not about what is found."""
        names = {question.name for question in QUESTIONS}
        return all(condition.keys() <= names for condition in self.condition)

    def open_conditions(self, state: State) -> tuple[Condition, ...]:
        """Where it may have to be asked, as far as is known, and has no default."""
        covered = [default.condition for default in self.defaults]
        if None in covered:
            return ()
        return tuple(
            condition
            for condition in self.condition
            if condition not in covered and _holds(condition, state) is not False
        )

    def default(self, state: State) -> str | None:
        """The answer for when none is given, or None where one is needed."""
        if self.name in state.previous and self._still_meant(state):
            return state.previous[self.name]
        for default in self.defaults:
            if _holds(default.condition or {}, state):
                return default.value
        return self.suggest(state) if self.suggest else None

    def _still_meant(self, state: State) -> bool:
        """An earlier answer about one endpoint says nothing of another."""
        about = {name for condition in self.condition for name in condition}
        return all(state.answers.get(name) == state.previous.get(name) for name in about)


def _any_holds(conditions: tuple[Condition, ...], state: State) -> bool | None:
    results = {_holds(condition, state) for condition in conditions}
    return True if True in results else None if None in results else False


def _holds(condition: Condition, state: State) -> bool | None:
    known = {**state.facts, **state.answers}
    if any(name in known and known[name] not in values for name, values in condition.items()):
        return False
    return True if condition.keys() <= known.keys() else None


_NIM_HOSTED: Condition = {"endpoint": ("nim",), "nim_hosting": ("hosted",)}
_NIM_OWN: Condition = {"endpoint": ("nim",), "nim_hosting": ("self-hosted",)}
_GEMINI: Condition = {"endpoint": ("gemini",)}
_TAO: Condition = {"endpoint": ("tao",)}
_VLLM: Condition = {"endpoint": ("vllm",)}
_CUSTOM: Condition = {"endpoint": ("custom",)}
_OPENAI: Condition = {"endpoint": ("nim", "tao", "vllm", "custom")}

QUESTIONS = (
    InterviewQuestion(
        "input_jsonl",
        "Input JSONL (lines with image_path and caption)",
        "--input",
        parse=parsing.parse_input,
        look=checks.look_at_input,
        is_path=True,
    ),
    InterviewQuestion(
        "image_root",
        "Folder that image paths start from (empty: here, or beside the input)",
        "--image-root",
        parse=parsing.parse_folder,
        look=checks.look_at_image_root,
        suggest=checks.guess_image_root,
        is_path=True,
    ),
    InterviewQuestion(
        "endpoint",
        "Which model annotates?",
        "--endpoint",
        choices=(
            Choice("gemini", "Google Gemini"),
            Choice("nim", "an NVIDIA NIM, hosted or your own"),
            Choice("tao", "a TAO inference microservice"),
            Choice("vllm", "a vLLM server"),
            Choice("custom", "any other OpenAI-compatible endpoint"),
            Choice("local", "the embedded annotator: no key, only to try things"),
        ),
        look=checks.look_at_endpoint,
    ),
    InterviewQuestion(
        "nim_hosting",
        "Hosted by NVIDIA, or your own?",
        "--nim-hosting",
        choices=(
            Choice("hosted", "NVIDIA's service, with a key"),
            Choice("self-hosted", "a container of your own"),
        ),
        defaults=(Default("hosted"),),
        condition=({"endpoint": ("nim",)},),
    ),
    InterviewQuestion(
        "running",
        "Is the server running?",
        "--running",
        choices=(
            Choice("yes", "it will be asked for its models"),
            Choice("no", "show how to start it and go on"),
        ),
        defaults=(Default("yes"),),
        condition=({"endpoint": ("tao", "vllm")}, _NIM_OWN),
        look=checks.look_at_running,
        implied="yes",
    ),
    InterviewQuestion(
        "base_url",
        "Address of the endpoint, up to and with /v1",
        "--base-url",
        defaults=(
            Default("https://integrate.api.nvidia.com/v1", _NIM_HOSTED),
            Default("http://localhost:8000/v1", _NIM_OWN),
            Default("http://localhost:8080/v1", _TAO),
            Default("http://localhost:8000/v1", _VLLM),
        ),
        condition=(_NIM_HOSTED, _NIM_OWN, _TAO, _VLLM, _CUSTOM),
        parse=parsing.parse_base_url,
        look=checks.look_at_base_url,
    ),
    InterviewQuestion(
        "key_variable",
        "NAME of the environment variable with the key (empty: no key needed)",
        "--key-variable",
        defaults=(
            Default("GOOGLE_API_KEY", _GEMINI),
            Default("NVIDIA_API_KEY", _NIM_HOSTED),
            Default(""),
        ),
        condition=(_GEMINI, _OPENAI),
        parse=parsing.parse_key_variable,
        look=checks.look_at_key_variable,
    ),
    InterviewQuestion(
        "model",
        "Model",
        "--model",
        defaults=(Default(GEMINI_MODELS[0], _GEMINI),),
        condition=(_GEMINI, _OPENAI),
        look=checks.look_at_model,
        suggest=checks.only_model,
        offer=checks.offered_models,
    ),
    InterviewQuestion(
        "steps",
        "Steps to run",
        "--steps",
        choices=(
            Choice("0,1", "both: find the expressions in the captions, then their boxes"),
            Choice("0", "only the expressions"),
            Choice("1", "only the boxes, for the output of step 0 in the results folder"),
        ),
        defaults=(Default("0,1"),),
    ),
    InterviewQuestion(
        "results_dir",
        "Folder for the results",
        "--results-dir",
        defaults=(Default("results"),),
        parse=parsing.parse_results_dir,
        look=checks.look_at_results_dir,
        is_path=True,
    ),
    InterviewQuestion(
        "resume",
        "The results folder holds finished samples. Resume, or start afresh?",
        "--resume",
        choices=(
            Choice("resume", "ask only for what is missing"),
            Choice("fresh", "ask for everything again, at every run with this spec"),
        ),
        defaults=(Default("resume"),),
        condition=({"existing_results": ("yes",)},),
        look=checks.look_at_resume,
    ),
    InterviewQuestion(
        "max_workers",
        "Requests in flight at once",
        "--max-workers",
        defaults=(Default("4"),),
        parse=parsing.parse_max_workers,
    ),
    InterviewQuestion(
        "spec",
        "Where to write the spec",
        "--output",
        defaults=(Default("spec.yaml"),),
        parse=parsing.parse_spec_path,
        look=checks.look_at_spec_path,
        is_path=True,
    ),
)


def to_plain(question: InterviewQuestion, previous: Mapping[str, str]) -> dict[str, Any]:
    """A question as JSON, for a program; the keys are always all there."""
    conditional = [default for default in question.defaults if default.condition]
    usual = next((default.value for default in question.defaults if not default.condition), None)
    return {
        "name": question.name,
        "question": question.text,
        "flag": question.flag,
        "choices": [{"value": choice.value, "text": choice.text} for choice in question.choices],
        "default": previous.get(question.name, usual),
        "defaults": [
            {"value": default.value, "condition": default.condition} for default in conditional
        ],
        "derived_default": _first_line(question.suggest),
        "condition": [dict(condition) for condition in question.condition],
    }


def _first_line(function: Callable[..., Any] | None) -> str | None:
    return (function.__doc__ or "").partition("\n")[0] if function else None


def describe(conditions: tuple[Condition, ...]) -> str:
    """A condition in words: ``endpoint is tao or vllm``."""
    return ", or ".join(
        " and ".join(f"{name} is {' or '.join(values)}" for name, values in condition.items())
        for condition in conditions
    )
