# SPDX-License-Identifier: Apache-2.0
"""Ground truth of several formats, read into ``TruthExample``s."""

from image_grounding.evaluation.truth.base import ImageKey, TruthExample, TruthPhrase
from image_grounding.evaluation.truth.read import FORMATS, read_truth

__all__ = ["FORMATS", "ImageKey", "TruthExample", "TruthPhrase", "read_truth"]
