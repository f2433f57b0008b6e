# SPDX-License-Identifier: Apache-2.0
"""Measurements kept beside the results, so that a resumed run does not measure again."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from image_grounding.asking.endpoints.errors import safe_address
from image_grounding.boxes.frames import CONVENTIONS, Transport
from image_grounding.measuring.measurement import Measurement
from image_grounding.results.folder import ResultsFolder
from image_grounding.spec import Vlm
from image_grounding.steps.prompts import VERSION


class MeasurementCache:
    """The measurements of one results folder, by what they depend on."""

    def __init__(self, folder: ResultsFolder, vlm: Vlm, transport: Transport) -> None:
        self._folder = folder
        self._made_with = {
            "backend": vlm.backend,
            "base_url": safe_address(vlm.base_url),
            "model": vlm.model,
            "transport": asdict(transport),
            "prompt_version": VERSION,
            "structured_output": vlm.structured_output,
        }

    def load(self) -> Measurement | None:
        """The measurement for this endpoint, or None; a broken file counts as none."""
        for entry in self._folder.read_conventions():
            ious = entry.get("mean_iou")
            chosen = entry.get("convention")
            if (
                self._is_mine(entry)
                and isinstance(chosen, str)
                and chosen in CONVENTIONS
                and isinstance(ious, dict)
                and chosen in ious
                and all(type(iou) in (int, float) and 0 <= iou <= 1 for iou in ious.values())
            ):
                return Measurement(ious, chosen)
        return None

    def save(self, measurement: Measurement) -> None:
        """Keep a measurement; raises OutputError where it cannot be written."""
        mine = {
            **self._made_with,
            "convention": measurement.chosen,
            "mean_iou": {name: round(iou, 4) for name, iou in measurement.ious.items()},
        }
        entries = self._folder.read_conventions()
        others = [entry for entry in entries if not self._is_mine(entry)]
        self._folder.write_conventions([*others, mine])

    def _is_mine(self, entry: Mapping[str, Any]) -> bool:
        return all(entry.get(name) == value for name, value in self._made_with.items())
