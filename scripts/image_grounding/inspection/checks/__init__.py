# SPDX-License-Identifier: Apache-2.0
"""Checks of single records and of the whole data set; ``CHECKS`` lists them all."""

# Importing a module registers its checks; the order is the display order.
from image_grounding.inspection.checks import boxes, pictures, texts  # noqa: F401
from image_grounding.inspection.checks.dataset_checks import DATASET_CHECKS
from image_grounding.inspection.checks.registry import RECORD, Subject

RECORD_CHECKS = tuple(RECORD.checks)
RECORD_CHECK_NAMES = tuple(check.name for check in RECORD_CHECKS)
CHECKS = (*RECORD_CHECKS, *DATASET_CHECKS)
check_record = RECORD.flags

__all__ = [
    "CHECKS",
    "DATASET_CHECKS",
    "RECORD_CHECKS",
    "RECORD_CHECK_NAMES",
    "Subject",
    "check_record",
]
