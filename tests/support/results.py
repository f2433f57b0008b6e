# SPDX-License-Identifier: Apache-2.0
"""Results as a run leaves them, made from a few figures, and boxes read in wrong conventions."""

import io
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from image_grounding.boxes.frames import CONVENTIONS, Frame, Size, Transport, fit_size
from image_grounding.boxes.geometry import PixelBox, clip_box, order_corners, round_out

# A text, its boxes, and their scores where they matter.
Phrase = tuple[str, Sequence[PixelBox]] | tuple[str, Sequence[PixelBox], Sequence[float | None]]


def make_line(
    number: int,
    phrases: Sequence[Phrase],
    *,
    size: Size = (640, 480),
    caption: str | None = None,
    cleaned: str | None = None,
    image: str | None = None,
    grounded: bool = True,
) -> dict[str, Any]:
    """A line of annotations.jsonl."""
    cleaned = cleaned or caption or "; ".join(text for text, *_ in phrases) or "nothing here"
    sample = f"s{number}"
    expressions = []
    for e, (text, boxes, *scores) in enumerate(phrases):
        start = cleaned.find(text)
        values = (
            scores[0]
            if scores
            else [round(0.5 + 0.01 * ((7 * number + 3 * e + b) % 40), 2) for b in range(len(boxes))]
        )
        expressions.append({
            "expression_id": f"{sample}-e{e}",
            "text": text,
            "char_span": [start, start + len(text)] if start >= 0 else None,
            "noun_chunk": text,
            "instances": [
                {"bbox_id": f"{sample}-e{e}-b{b}", "bbox": list(box), "score": score}
                for b, (box, score) in enumerate(zip(boxes, values, strict=False))
            ],
        })  # fmt: skip
    tags = ["step0_expression_extraction", *(["step1_grounding"] if grounded else [])]
    return {
        "image_path": image or f"{number}.png",
        "caption": caption or cleaned,
        "image_id": number,
        "sample_id": sample,
        "width": size[0],
        "height": size[1],
        "cleaned_caption": cleaned,
        "expressions": expressions,
        "source": "image_grounding",
        "pipeline_steps": tags,
    }


def write_results(
    folder: Path,
    lines: Sequence[dict[str, Any]],
    failures: Sequence[str] = (),
    summary: dict[str, Any] | None = None,
    *,
    images: bool = True,
) -> Path:
    """A results folder: records, failures by reason, summary, and the pictures beside it."""
    results = folder / "results"
    step = results / "step_1_grounding"
    step.mkdir(parents=True)
    for path in (results / "annotations.jsonl", step / "annotations.jsonl"):
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    entries = [{"sample_id": f"f{i}", "reason": reason} for i, reason in enumerate(failures)]
    (step / "failures.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    whole = {
        "results_dir": str(results),
        "working_folder": str(folder),
        "counts": {"dropped_boxes": {}},
        "teacher": {
            "backend": "openai",
            "model": "test-vlm",
            "convention": "norm1000_xyxy",
            "convention_iou": 0.99,
        },
        "usage": {"input_tokens": 0, "output_tokens": 0, "cost": 0.0},  # nothing was left to ask
        "usage_of_all_runs": {"input_tokens": 1200, "output_tokens": 300, "cost": 0.0123},
        "spec": {"image_grounding": {"data": {"input_jsonl": str(folder / "input.jsonl")}}},
        **(summary or {}),
    }
    (results / "run_summary.json").write_text(json.dumps(whole))
    if images:
        for line in lines:
            # What follows a PNG's end is no part of the picture, but of the file's content.
            name = line["image_path"].encode("utf-8", "replace")
            picture = _blank(line["width"], line["height"]) + name
            (folder / line["image_path"]).write_bytes(picture)
    return results


@cache
def _blank(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def misread(
    sizes: Sequence[Size],
    written: str,
    read: str,
    *,
    count: int = 60,
    transport: Transport | None = None,
    with_sides: bool = False,
) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Lines of boxes that a model wrote in one convention and that were read in another.

    As a tool that believes any number makes them: what lies outside is cut off. Objects have
    shapes of their own, whatever the picture's. Also returns what was dropped.
    """
    rng = random.Random(7)
    dropped: Counter[str] = Counter()
    lines = []
    for number in range(count):
        size = rng.choice(sizes)
        frame = Frame(size, fit_size(size, transport) if transport else size)
        phrases: list[Phrase] = []
        for box in _objects(rng, size, 3):
            numbers = CONVENTIONS[written].from_sent(frame.original_to_sent(box), frame)
            digits = 3 if written == "norm1_xyxy" else 0
            rounded = tuple(round(number, digits) for number in numbers)
            found = _clipped(rounded, read, frame, dropped)
            text = f"a thing {len(phrases)}"
            if with_sides:
                text += " on the left" if box[0] + box[2] < size[0] else " on the right"
            phrases.append((text, [found] if found else []))
        lines.append(make_line(number, phrases, size=size))
    return lines, dropped


def _clipped(
    numbers: tuple[float, ...], read: str, frame: Frame, dropped: Counter[str]
) -> PixelBox | None:
    x1, y1, x2, y2 = numbers
    box = frame.sent_to_original(CONVENTIONS[read].to_sent((x1, y1, x2, y2), frame))
    found = round_out(clip_box(order_corners(box), frame.original))
    if found[0] < found[2] and found[1] < found[3]:
        return found
    dropped["outside"] += 1
    return None


def _objects(rng: random.Random, size: Size, count: int) -> Iterator[PixelBox]:
    """Boxes all over a picture, cut off at its borders."""
    while count:
        side, stretch = min(size) * rng.uniform(0.05, 0.6), rng.lognormvariate(0, 0.25)
        x, y = rng.uniform(0, size[0]), rng.uniform(0, size[1])
        width, height = side * stretch, side / stretch
        x1, x2 = max(x - width / 2, 0), min(x + width / 2, size[0])
        y1, y2 = max(y - height / 2, 0), min(y + height / 2, size[1])
        if min(x2 - x1, y2 - y1) >= 8:
            count -= 1
            yield int(x1), int(y1), int(x2), int(y2)
