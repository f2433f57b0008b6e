# SPDX-License-Identifier: Apache-2.0
"""The record form of TAO's ``image_grounding`` auto-label pipeline."""

from collections.abc import Mapping
from typing import Any

from image_grounding.exports.base import Example, JsonLinesExporter, register


@register
class Tao(JsonLinesExporter):
    """The records as they are, with TAO's name for a score."""

    name = "tao"
    summary = "the records as TAO's image_grounding writes them (bbox_score)"
    reader = "What reads TAO's annotations.jsonl reads these lines."

    def row(self, example: Example) -> dict[str, Any]:
        """The record's line."""
        fields = example.record.fields
        return {
            **fields,
            "image_path": example.image,
            "expressions": [_expression(item) for item in fields["expressions"]],
        }


def _expression(item: Mapping[str, Any]) -> dict[str, Any]:
    instances = [
        {("bbox_score" if name == "score" else name): value for name, value in instance.items()}
        for instance in item.get("instances") or ()
    ]
    return {**item, "instances": instances}
