# SPDX-License-Identifier: Apache-2.0
"""A small results folder as a run leaves it, with every state file in it."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from image_grounding.boxes.frames import Transport
from image_grounding.images.encoding import encode_image
from image_grounding.input.samples import Sample, SampleReader
from image_grounding.inspection.marks import digest_of
from image_grounding.measuring.cache import MeasurementCache
from image_grounding.measuring.measurement import Measurement
from image_grounding.results.checkpoints import Checkpoint
from image_grounding.results.folder import ResultsFolder
from image_grounding.results.outputs import write_annotations
from image_grounding.results.reading import Results
from image_grounding.results.run_state import Process, RunState, now_text
from image_grounding.results.standing import made_from, mark_outputs
from image_grounding.spec import Vlm, load_spec
from image_grounding.steps.annotations import Expression, Extraction, Grounding, Instance
from image_grounding.steps.extraction import EXTRACTION
from image_grounding.steps.grounding import GROUNDING
from image_grounding.steps.question import Reply
from image_grounding.steps.step import Earlier

STEPS = (EXTRACTION, GROUNDING)
TRANSPORT = Transport(1_000_000)
MEASURED = Measurement({"norm1000_xyxy": 0.97, "pixel_sent": 0.2}, "norm1000_xyxy")
_SIZE = (64, 48)
_PROVENANCE = {"model": "m", "prompt_version": 3, "convention": "norm1000_xyxy", "iou": 0.97}


@dataclass
class Folder:
    """The folder, its input beside it, and what every file in it holds.

    Attributes:
        path: of the results.
        samples: of the input.
        vlm: the model that they were made with.
        files: by path in the folder, as they were written.
    """

    path: Path
    samples: list[Sample]
    vlm: Vlm
    files: dict[str, bytes]

    @property
    def results(self) -> ResultsFolder:
        """The folder, opened anew."""
        return ResultsFolder(self.path)

    def restore(self) -> None:
        """Every file as it was, and no other one."""
        for path in self._paths():
            if path.relative_to(self.path).as_posix() not in self.files:
                path.unlink()
        for name, content in self.files.items():
            (self.path / name).write_bytes(content)

    def remember(self) -> None:
        """Take what is there for what every file holds."""
        self.files = {
            path.relative_to(self.path).as_posix(): path.read_bytes() for path in self._paths()
        }

    def _paths(self) -> list[Path]:
        return sorted(path for path in self.path.rglob("*") if path.is_file())


def checkpoints_of(sample: Sample) -> list[Checkpoint[Any]]:
    """What a run keeps of a sample, step by step."""
    picture = encode_image(sample.image, TRANSPORT)
    text = sample.caption[:5]
    extraction = Extraction(sample.caption, (Expression(text, "dog", (0, 5)),))
    instances = (Instance((1, 2, 30, 40), 0.5), Instance((0, 0, 64, 48), None))
    results: list[Any] = [extraction, Grounding((instances,), {"outside": 1}, 1)]
    earlier, found = Earlier(), []
    for step, result in zip(STEPS, results, strict=True):
        replies = (Reply("not this"), Reply('{"instances": []}'))
        basis = step.basis(sample, earlier)
        found.append(
            Checkpoint(basis, picture.fingerprint, _SIZE, _PROVENANCE, result, replies, TRANSPORT)
        )
        earlier = earlier.plus(step, result)
    return found


def make_folder(place: Path) -> Folder:
    """The folder with the finished samples of two lines."""
    rows = []
    for number in range(2):
        Image.new("RGB", _SIZE, (number, 9, 9)).save(place / f"{number}.png")
        os.utime(place / f"{number}.png", (1e9, 1e9))  # the same in every seed
        rows.append({"image_path": f"{number}.png", "caption": f"A dog and {number} cats"})
    source = place / "input.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    samples = [item for item in SampleReader(source, str(place)) if isinstance(item, Sample)]
    given = ["results_dir=r", f"data.input_jsonl={source}", f"data.image_root={place}"]
    model = ["vlm.backend=openai", "vlm.openai.base_url=http://h/v1", "vlm.openai.model_name=m"]
    spec = load_spec(None, [*given, *model])
    folder = Folder(place / "results", samples, spec.vlm, {})
    results = folder.results
    for number, step in enumerate(STEPS):
        store = results.checkpoints(step)
        store.create()
        for sample in samples:
            store.save(sample, checkpoints_of(sample)[number])
    logs = results.open_failures(STEPS)
    written = write_annotations(results, samples, STEPS, logs, whole=True)
    mark_outputs(results, made_from(results, "d", STEPS), STEPS, written)
    for log in logs.values():
        log.add(line=7, reason="timeout", message="late", sample_id="x-1", image_path="x.png")
        log.close()
    MeasurementCache(results, spec.vlm, TRANSPORT).save(MEASURED)
    results.write_state(_state())
    results.write_summary(_summary(spec.redacted, place))
    _write_review(folder)
    folder.remember()
    return folder


def _state() -> RunState:
    endpoint, usage = {"state": "up", "asked": 4}, {"requests": 7, "cost": 0.5}
    return RunState(
        "running", Process(1, "elsewhere", "12"), now_text(), now_text(), ("0", "1"), None, 9,
        2, 1, 0, 2, 1.5, 60.0, endpoint, usage, "no",
    )  # fmt: skip


def _summary(spec: dict[str, Any], place: Path) -> dict[str, Any]:
    teacher = {"backend": "openai", "model": "m", "convention": "norm1000_xyxy"}
    usage = {"requests": 9, "input_tokens": 9, "output_tokens": 9, "cached_tokens": 1, "cost": 0.1}
    counts = {"lines": 9, "annotated": 2, "failed": 1, "not_attempted": 6, "failed_earlier": 0}
    return {
        "status": "interrupted",
        "results_dir": str(place / "results"),
        "working_folder": str(place),
        "selection": None,
        "counts": {**counts, "dropped_boxes": {"outside": 1}, "clipped_boxes": 1},
        "teacher": {**teacher, "convention_iou": 0.97, "prompt_version": 3},
        "checkpoints_of_another_teacher": {"model": 1, "convention": 1},
        "usage": usage,
        "usage_of_all_runs": {"runs": 2, **usage},
        "spec": spec,
    }


def _write_review(folder: Folder) -> None:
    """Marks and the report that they are of."""
    records = list(Results(folder.path).records())
    cards = [{"sample_id": record.sample_id, "picked": "random"} for record in records]
    marks = [
        {
            "sample_id": record.sample_id,
            "expression_id": record.expressions[0].expression_id,
            "bbox_id": bbox_id,
            "digest": digest_of(record, 0),
            "mark": mark,
        }
        for record, bbox_id, mark in zip(records, (None, "b"), ("good", "wrong_box"), strict=True)
    ]
    run = {"results": "r", "fingerprint": "f"}
    review = {"format": 1, "run": run, "cards": cards, "marks": marks}
    (folder.path / "review.json").write_text(json.dumps(review))
    (folder.path / "report.json").write_text(json.dumps({"run": run, "cards": cards}))
