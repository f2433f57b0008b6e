# SPDX-License-Identifier: Apache-2.0
"""Specs: a byte for who asks, YAML, then overrides, with a NUL between each."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from image_grounding.errors import SpecError
from image_grounding.resources import spec_path
from image_grounding.spec import load_spec
from image_grounding.spec.load import load_limits
from targets import Target
from targets.strict import check_message, check_writable

_SECRET = "secret-of-the-environment"
_GOOD = """\
results_dir: out
image_grounding:
  data: {input_jsonl: in.jsonl, image_root: "/p", allow_outside_root: true}
  workflow: {steps: ["0", "1"], max_workers: auto, max_cost: 2.5, max_outage: 60}
  vlm:
    backend: openai
    coordinates: norm1000_xyxy
    prices: {input: 0.1, output: 0.4}
    openai:
      base_url: http://user:pass@localhost:8000/v1?api-version=1&sig=abc
      model_name: m
      api_key: ${oc.env:IG_FUZZ_KEY}
      extra_headers: {x-api-key: "${oc.env:IG_FUZZ_KEY}"}
      extra_body: {chat_template_kwargs: {enable_thinking: false}, list: [1, {token: t}]}
      extra_query: {deployment: a}
"""
_OVERRIDES = (
    ("results_dir=out", "data.input_jsonl=in.jsonl"),
    ("results_dir=out", "data.input_jsonl=x", "vlm.backend=local", "workflow.steps=['1']"),
    ("results_dir=o", "data.input_jsonl=x", "inspection.max_area=0.5", "vlm.image.step_0=auto"),
    ("vlm.openai.extra_body.a.b=[1,{c: d}]", "+workflow.max_workers=3", "hydra.run.dir=x"),
    ("image_grounding.vlm.gemini.api_key=${oc.env:IG_FUZZ_KEY}", "vlm.backend=gemini"),
)


def target(folder: Path) -> Target:
    """The target, with a file for the YAML in ``folder``."""
    os.environ["IG_FUZZ_KEY"] = _SECRET
    path = folder / "spec.yaml"
    texts = [_without_comments(spec_path("local.yaml").read_text(encoding="utf-8"))]
    seeds = [
        "\0".join((mode + text, *given))
        for mode, text, given in itertools.product("012", (_GOOD, *texts, "{}"), _OVERRIDES)
    ]

    def check(data: bytes) -> None:
        text, *overrides = data[1:].split(b"\0")
        given = [os.fsdecode(override) for override in overrides]
        try:
            if data[:1] == b"2":
                return check_writable(vars(load_limits({"min_boxes": 3}, given)))
            path.write_bytes(text)
            redacted = load_spec(path, given, without_keys=data[:1] == b"1").redacted
        except SpecError as error:
            return check_message(error)
        check_writable(redacted)
        assert _SECRET not in str(list(_hidden(redacted)))
        return None

    words = ["${oc.env:IG_FUZZ_KEY}", "${", "}", "???", "null", "true", ".inf", ".nan", "!!python"]
    words += ["&a", "*a", "<<: *a", "|\n", "image_grounding:", "vlm.", "openai.", "workflow."]
    return Target(check, [seed.encode() for seed in seeds], words)


def _without_comments(text: str) -> str:
    lines = (line.partition(" #")[0].rstrip() for line in text.splitlines())
    return "".join(f"{line}\n" for line in lines if line and not line.startswith("#"))


def _hidden(values: Any, name: str = "") -> Iterator[Any]:
    """What stands where a key may stand."""
    if isinstance(values, dict):
        for key, value in values.items():
            hidden = name or (key if key in ("api_key", "base_url", "extra_headers") else "")
            yield from _hidden(value, hidden)
    elif name:
        yield values
