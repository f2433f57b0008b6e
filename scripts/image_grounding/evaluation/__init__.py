# SPDX-License-Identifier: Apache-2.0
"""Results against ground truth: matching, metrics, calibration, intervals, plots."""
