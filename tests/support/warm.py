# SPDX-License-Identifier: Apache-2.0
"""What every script does at its start, done once in the server that scripts are forks of."""

import gc
import io
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from google.genai import types
from rich.console import Console
from rich.table import Table

from image_grounding.asking.endpoints.retired import retirement
from image_grounding.asking.transport import transport_for
from image_grounding.boxes.frames import Transport
from image_grounding.exports import card
from image_grounding.families.families import UNKNOWN, family_of
from image_grounding.inspection.page import write_page
from image_grounding.measuring.probes import make_probes
from image_grounding.plain import json_reader
from image_grounding.replies import read_extraction, read_grounding
from image_grounding.results import finished
from image_grounding.results.folder import ResultsFolder
from image_grounding.results.run_state import RunState
from image_grounding.results.standing import OutputsMark
from image_grounding.run.summary import versions
from image_grounding.spec import load_spec
from image_grounding.steps.annotations import Extraction, Grounding
from image_grounding.steps.question import Reply
from image_grounding.steps.table import all_steps
from support.huge_pages import collapse
from support.inspections import Phrase, make_card, make_inspection
from support.scenes import make_scene

_OF_GEMINI = (
    *("HttpRetryOptions", "HttpOptions", "GenerateContentConfig", "GenerateContentResponse"),
    *("_GenerateContentParameters", "Part", "Blob", "ThinkingConfig", "HttpResponse"),
    *("Candidate", "Content", "GenerateContentResponseUsageMetadata"),
)

_spec = load_spec(
    None, ["results_dir=.", "data.input_jsonl=x", "vlm.gemini.api_key=${oc.env:PATH}"]
)
for backend in ("openai", "gemini"):
    for convention in (UNKNOWN.convention, "norm1000_xyxy", "pixel_resized"):
        make_probes(transport_for(UNKNOWN, convention, replace(_spec.vlm, backend=backend)))
kinds: list[Any] = [
    *(Extraction, Grounding, RunState, Transport | None, tuple[Reply, ...]),
    *(finished._Kept, OutputsMark),
]
for kind in kinds:
    json_reader(kind)
for step in all_steps():
    ResultsFolder(Path("unused")).checkpoints(step)
versions()
family_of("unknown")
retirement("unknown")
card._template()
with tempfile.TemporaryDirectory() as folder:
    _picture = make_scene((64, 48)).save(Path(folder, "x.png"))
    _cards = [make_card(0, _picture, (64, 48), "a cat", [Phrase("a cat", [((1, 1, 9, 9), 0.5)])])]
    write_page(make_inspection(_cards), Path(folder, "index.html"))
read_extraction("{}")
read_grounding("a red car: [1, 2, 3, 4]", ["a red car"])
_table = Table("a", "b", title="c")
_table.add_row("1", "2")
Console(file=io.StringIO()).print(_table)
for _name in _OF_GEMINI:  # google-genai leaves them until they are needed, and they take long
    getattr(types, _name).model_rebuild()
# What is there by now lives as long as its forks: none of them is to look through all of it.
gc.collect()
gc.freeze()
gc.enable()
collapse()
