# SPDX-License-Identifier: Apache-2.0
"""The results folder: checkpoints, failures, outputs, and a finished run read back."""
