# SPDX-License-Identifier: Apache-2.0
"""Boxes: conventions of models, frames, conversion to pixels, overlap."""
