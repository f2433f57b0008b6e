#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Look at a run before scaling it; ``--help`` says how."""

import os
import sys
from importlib import import_module

# inspect.py in this folder must not hide the standard library's: the folder goes to the end.
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:] = [path for path in sys.path if os.path.realpath(path or ".") != HERE] + [HERE]

if __name__ == "__main__":
    import_module("image_grounding.cli.inspect").inspect_command()
else:  # PYTHONPATH names this folder, and the standard library's inspect is meant
    del sys.modules[__name__]
    import_module("inspect")
