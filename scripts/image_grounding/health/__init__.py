# SPDX-License-Identifier: Apache-2.0
"""Is an endpoint fit for the work? Step by step, each with what to do next."""

from image_grounding.health.checkup import check_up
from image_grounding.health.model import CheckUp, Status, Step

__all__ = ["CheckUp", "Status", "Step", "check_up"]
