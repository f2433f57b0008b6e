# SPDX-License-Identifier: Apache-2.0
"""The record form of TAO's ``image_grounding`` auto-label pipeline.

Image paths are absolute: step 1 of TAO (nvidia_tao_ds, ``image_grounding``) opens ``image_path`` as
it stands, without its ``image_root``, and asks without a picture where there is no such file.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from image_grounding.exports.base import (
    Example,
    JsonLinesExporter,
    Setting,
    register,
    stable_hash,
)


@register
class Tao(JsonLinesExporter):
    """The records as they are, with TAO's name for a score."""

    name = "tao"
    summary = "the records as TAO's image_grounding writes them (bbox_score)"
    reader = (
        "What reads TAO's annotations.jsonl reads these lines. For step 1 of TAO, put the file at "
        "step_0_expression_extraction/annotations.jsonl of a new results_dir of TAO."
    )
    absolute_paths = True

    def __init__(self, folder: Path, setting: Setting, stack: ExitStack) -> None:
        super().__init__(folder, setting, stack)
        self._image_ids: set[int] = set()  # 64 bits each
        self._repeated = 0

    def row(self, example: Example) -> dict[str, Any]:
        """The record's line."""
        if not example.record.grounded:
            known = len(self._image_ids)
            self._image_ids.add(stable_hash(str(example.record.image_id)))
            self._repeated += known == len(self._image_ids)
        fields = example.record.fields
        return {
            **fields,
            "image_path": example.image,
            "expressions": [_expression(item) for item in fields["expressions"]],
        }

    def warnings(self) -> list[str]:
        """TAO's checkpoints are named after ``image_id`` alone."""
        if not self._repeated:
            return []
        return [
            f"{self._repeated} records have the image_id of another record: step 1 of TAO gives "
            "all records of an image_id the answer of the first. Give each caption an image_id "
            "of its own before TAO reads them"
        ]


def _expression(item: Mapping[str, Any]) -> dict[str, Any]:
    instances = [
        {("bbox_score" if name == "score" else name): value for name, value in instance.items()}
        for instance in item.get("instances") or ()
    ]
    return {**item, "instances": instances}
