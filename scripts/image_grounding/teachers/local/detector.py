# SPDX-License-Identifier: Apache-2.0
"""NanoDet-g (RangiLyu/nanodet, Apache-2.0) with onnxruntime: boxes of 80 COCO classes.

How its input is made and its outputs are read follows NanoDet's own head: generalized focal
loss with 11 bins a side, strides 8, 16 and 32.
"""

import io
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from image_grounding.boxes.frames import Box
from image_grounding.boxes.geometry import box_iou
from image_grounding.teachers.local.vocabulary import COCO_CLASSES

_SIDE = 416
_STRIDES = (8, 16, 32)
_BINS = 11
_MEAN_BGR = np.array([103.53, 116.28, 123.675], dtype=np.float32)
_STD_BGR = np.array([57.375, 57.12, 58.395], dtype=np.float32)
_NMS_IOU = 0.5

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Detection:
    """A detected thing; ``box`` is normalized to 0..1 of the image, (x1, y1, x2, y2)."""

    coco_class: str
    score: float
    box: Box


class Detector:
    """The model, loaded once; may be used from several threads, one at a time."""

    def __init__(self, model: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        self._lock = threading.Lock()

    def detect(self, data: bytes, threshold: float) -> list[Detection]:
        """Things in an encoded image with at least ``threshold`` as score, best first."""
        with Image.open(io.BytesIO(data)) as image:
            # Stretched, not letterboxed: measured better with this model.
            pixels = np.asarray(image.convert("RGB").resize((_SIDE, _SIDE)), dtype=np.float32)
        batch = ((pixels[:, :, ::-1] - _MEAN_BGR) / _STD_BGR).transpose(2, 0, 1)[None]
        with self._lock:
            outputs: list[Any] = self._session.run(None, {"input_1": np.ascontiguousarray(batch)})
        found = [
            detection
            for level, stride in enumerate(_STRIDES)
            for detection in _decode(outputs[level][0], outputs[level + 3][0], stride, threshold)
        ]
        return _suppress(sorted(found, key=lambda detection: detection.score, reverse=True))


def _decode(scores: Array, sides: Array, stride: int, threshold: float) -> list[Detection]:
    """Detections of one level: ``scores`` [n*n, 80], ``sides`` [n*n, 4 * bins]."""
    cells, classes = np.nonzero(scores >= threshold)
    bins = sides[cells].reshape(-1, 4, _BINS)
    weights = np.exp(bins - bins.max(axis=2, keepdims=True))
    distances = (weights @ np.arange(_BINS)) / weights.sum(axis=2) * stride
    row, column = np.divmod(cells, _SIDE // stride)
    centre = (np.stack([column, row], axis=1) + 0.5) * stride
    corners = np.concatenate([centre - distances[:, :2], centre + distances[:, 2:]], axis=1)
    clipped = np.clip(corners / _SIDE, 0.0, 1.0)
    return [
        Detection(
            COCO_CLASSES[kind],
            float(scores[cell, kind]),
            (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
        )
        for cell, kind, box in zip(cells, classes, clipped, strict=True)
    ]


def _suppress(ordered: list[Detection]) -> list[Detection]:
    """Non-maximum suppression within each class."""
    kept: list[Detection] = []
    for detection in ordered:
        if all(
            detection.coco_class != other.coco_class
            or box_iou(detection.box, other.box) <= _NMS_IOU
            for other in kept
        ):
            kept.append(detection)
    return kept
