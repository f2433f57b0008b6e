#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Make the Python environment that the other scripts need; ``--help`` says how."""

import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.dont_write_bytecode |= not os.stat(HERE).st_mode & 0o222  # a read-only bundle stays as it is
sys.path.insert(0, HERE)

from image_grounding.launch import launch

if __name__ == "__main__":
    launch("image_grounding.environment", "main")
