# SPDX-License-Identifier: Apache-2.0
"""Records of a run for the evaluation's tests."""

from collections.abc import Sequence
from typing import Any

CAPTION = "A red car, two dogs and a man"
STEPS = ["step0_expression_extraction", "step1_grounding"]


def expression(
    text: str, boxes: Sequence[Any], caption: str | None = CAPTION, scores: Sequence[Any] = ()
) -> dict[str, Any]:
    """An expression; its span is where the caption has it first."""
    start = caption.find(text) if caption else -1
    scores = scores or [0.9] * len(boxes)
    return {
        "expression_id": text,
        "text": text,
        "char_span": [start, start + len(text)] if start >= 0 else None,
        "noun_chunk": text,
        "instances": [
            {"bbox_id": f"{text}{index}", "bbox": list(box), "score": score}
            for index, (box, score) in enumerate(zip(boxes, scores, strict=True))
        ],
    }


def record(
    image_path: str,
    expressions: Sequence[dict[str, Any]],
    caption: str = CAPTION,
    size: tuple[int, int] = (200, 100),
    **more: Any,
) -> dict[str, Any]:
    """A line of annotations.jsonl."""
    stem = image_path.rpartition("/")[2].rpartition(".")[0]
    return {
        "image_path": image_path,
        "caption": caption,
        "image_id": stem,
        "sample_id": f"{stem}-{len(caption)}",
        "width": size[0],
        "height": size[1],
        "cleaned_caption": caption,
        "expressions": list(expressions),
        "source": "image_grounding",
        "pipeline_steps": STEPS,
        **more,
    }
