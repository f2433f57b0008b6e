# SPDX-License-Identifier: Apache-2.0
"""Probe pictures with the model's boxes drawn on them, for a person's eyes."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from image_grounding.errors import OutputError
from image_grounding.measuring.measurement import ProbeResult
from image_grounding.measuring.probes import open_probe

_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)


def save_probes(results: Sequence[ProbeResult], convention: str, folder: Path) -> list[Path]:
    """Write each probe with the answered boxes, read in ``convention``; returns the files.

    Raises:
        OutputError: ``folder`` cannot be written.
    """
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, result in enumerate(results, 1):
            path = folder / f"probe_{number}.png"
            _draw(result, convention).save(path)
            paths.append(path)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from None
    return paths


def _draw(result: ProbeResult, convention: str) -> Image.Image:
    picture = open_probe(result.probe)
    pen = ImageDraw.Draw(picture)
    for name in result.probe.truth:
        for x1, y1, x2, y2 in result.boxes(name, convention):
            pen.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=_WHITE, width=5)
            if min(x2 - x1, y2 - y1) > 4:
                pen.rectangle((x1 + 1, y1 + 1, x2 - 2, y2 - 2), outline=_BLACK, width=2)
            pen.text((x1 + 9, y1 + 9), name, fill=_BLACK, stroke_width=2, stroke_fill=_WHITE)
    pen.text((8, 6), f"boxes read as {convention}", fill=_BLACK)
    return picture
