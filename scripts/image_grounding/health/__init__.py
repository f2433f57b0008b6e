# SPDX-License-Identifier: Apache-2.0
"""Is an endpoint fit for the work? CheckStep by step, each with what to do next."""

from image_grounding.health.checkup import check_up
from image_grounding.health.model import CheckStep, CheckUp, Status

__all__ = ["CheckStep", "CheckUp", "Status", "check_up"]
