#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write a run in a format that trainers read; ``--help`` says how."""

import os
import sys

# inspect.py in this folder must not hide the standard library's: the folder goes to the end.
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:] = [path for path in sys.path if os.path.realpath(path or ".") != HERE] + [HERE]

from image_grounding.cli.export import export_command

if __name__ == "__main__":
    export_command()
