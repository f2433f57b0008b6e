# SPDX-License-Identifier: Apache-2.0
"""What trainers read, from what a run left behind. ``FORMATS`` lists every format."""

# Importing a module registers its format.
from image_grounding.exports import (  # noqa: F401
    coco,
    flickr30k,
    label_studio,
    odvg,
    parquet,
    refcoco,
    tao,
    vlm_sft,
)
from image_grounding.exports.base import FORMATS, Setting
from image_grounding.exports.export_run import Plan, export_run

__all__ = ["FORMATS", "Plan", "Setting", "export_run"]
