# SPDX-License-Identifier: Apache-2.0
"""Measuring in which convention an endpoint writes boxes, before it is believed."""

from image_grounding.measuring.cache import MeasurementCache
from image_grounding.measuring.measurement import Measurement, ProbeResult, measure
from image_grounding.measuring.probes import Probe, make_probes

__all__ = ["Measurement", "MeasurementCache", "Probe", "ProbeResult", "make_probes", "measure"]
