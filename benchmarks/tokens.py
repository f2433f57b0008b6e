#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tokens of a record against NVIDIA TAO's own pipeline.

Ours in two steps, with step 0 for five captions of a picture in one request, and in a single pass.
Nothing is asked: ours are the prompts and picture sizes of a dry run, tokens follow from the
formulas of ``families/image_tokens.py`` and ``steps/tokens.py``. Of the peer is known, from its
public source (NVIDIA-TAO/tao-data-services, nvidia_tao_ds/auto_label/image_grounding, 2026):

- its two prompts, 1,023 and 674 bytes without caption and expressions; each expression is a line
  with 7 bytes around it;
- it sends the file as it is with both, and no media_resolution with pictures.

Assumed: its replies are as long as ours in two steps, which they are but for char_span; and how
far a server shrinks what it gets, for which there are two cases, Qwen-VL's own files
(``max_pixels`` of 16,384 patches) and the 1,280 patches that its model card advises.

Tokens are those of a record, sent and received; one JSON object for each model and size.

    python benchmarks/tokens.py
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts")]

from image_grounding.boxes.frames import Size  # noqa: E402
from image_grounding.families.families import family_of  # noqa: E402
from image_grounding.input.samples import Sample  # noqa: E402
from image_grounding.run.estimate import Estimate  # noqa: E402
from image_grounding.spec import Spec, load_spec  # noqa: E402
from image_grounding.steps.step import Cost, Earlier  # noqa: E402
from image_grounding.steps.table import all_steps  # noqa: E402
from image_grounding.steps.tokens import (  # noqa: E402
    EXTRACTED_TOKENS,
    GROUNDED_TOKENS,
    expected_expressions,
    text_tokens,
)
from image_grounding.teachers import make_teacher  # noqa: E402

PEER_PROMPTS = (1023, 674)
PEER_LINE = 7
PATCHES = {"as Qwen-VL's files say": 16_384, "at most 1,280 patches": 1280}
TOGETHER = 5
SIZES: tuple[Size, ...] = ((640, 480), (1280, 960), (1920, 1080), (4000, 3000))
MODELS = {
    "openai": ("Qwen2.5-VL-7B-Instruct", "Qwen3-VL-8B-Instruct"),
    "gemini": ("gemini-3.5-flash-lite",),
}


def spec_of(backend: str, model: str, *more: str) -> Spec:
    name = {"openai": "model_name", "gemini": "model"}[backend]
    given = (f"vlm.backend={backend}", f"vlm.{backend}.{name}={model}", *more)
    if backend == "openai":
        given += ("vlm.openai.base_url=http://localhost/v1",)
    return load_spec(None, ["results_dir=.", "data.input_jsonl=unread", *given], without_keys=True)


def captions() -> list[Sample]:
    """Those of the sample photos."""
    lines = (ROOT / "assets" / "captions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [
        Sample(number, str(number), 1, row["image_path"], row["caption"], row)
        for number, row in enumerate(rows, 1)
    ]


def ours(spec: Spec, size: Size) -> Estimate:
    """What a dry run over the captions estimates, with pictures of ``size``.

    Where captions share requests, each stands for as many as do, all of its length.
    """
    profile = make_teacher(spec, print).profile
    total = Estimate(spec.vlm)
    for sample in captions():
        for step in all_steps():
            if cost := step.cost(sample, size, Earlier(), profile):
                total.add(step, cost, size)
                beside = cost.beside_another() if cost.common_tokens else cost
                for _ in range(1, profile.captions):
                    total.add(step, beside, size)
    return total


def peers(spec: Spec, size: Size, patches: int) -> Estimate:
    """The same for the peer: its prompts, and the file as it is, which the server shrinks."""
    family = family_of(spec.vlm.model).transport
    raw = replace(family, max_pixels=patches * family.multiple**2)
    total = Estimate(spec.vlm)
    for sample in captions():
        count = expected_expressions(sample.caption)
        written = (text_tokens(sample.caption) + EXTRACTED_TOKENS * count, GROUNDED_TOKENS * count)
        lines = (0, PEER_LINE * count)
        for place, step in enumerate(all_steps()):
            asked = "x" * (PEER_PROMPTS[place] + lines[place]) + sample.caption
            total.add(step, Cost(text_tokens(asked), written[place], raw), size)
    return total


def tokens(estimate: Estimate) -> int:
    """Sent and received."""
    known = estimate.plain()
    return int(known["input_tokens"] + known["output_tokens"])


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    count = len(captions())
    for backend, models in MODELS.items():
        for model in models:
            two_steps = spec_of(backend, model)
            shared = spec_of(backend, model, f"workflow.captions_per_request={TOGETHER}")
            single = spec_of(backend, model, "workflow.single_pass=true")
            for server, patches in PATCHES.items() if backend == "openai" else (("", 1),):
                for size in SIZES:
                    peer = tokens(peers(two_steps, size, patches))
                    mine = [tokens(ours(spec, size)) for spec in (two_steps, single)]
                    together = tokens(ours(shared, size)) / TOGETHER
                    row = {
                        "model": model,
                        "server": server,
                        "size": "x".join(map(str, size)),
                        "peer": round(peer / count),
                        "two_steps": round(mine[0] / count),
                        "captions_together": round(together / count),
                        "single_pass": round(mine[1] / count),
                        "two_steps_to_peer": round(mine[0] / peer, 2),
                        "captions_together_to_peer": round(together / peer, 2),
                        "single_pass_to_peer": round(mine[1] / peer, 2),
                    }
                    print(json.dumps(row))


if __name__ == "__main__":
    main()
