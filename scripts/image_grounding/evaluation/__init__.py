# SPDX-License-Identifier: Apache-2.0
"""How good a run is, against ground truth: truth readers, matching, metrics, intervals, plots."""
