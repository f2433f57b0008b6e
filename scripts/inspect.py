#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "aiohttp>=3.14.4,<4",
#   "click>=8.1",
#   "filelock>=3.16",
#   "google-genai>=3.4,<4",
#   "jinja2>=3.1",
#   "jsonschema>=4.23",
#   "omegaconf>=2.3",
#   "openai>=3.57,<4",
#   "pillow>=11",
#   "pydantic>=2.11",
#   "questionary>=2.1",
#   "rapidfuzz>=3.9",
#   "rich>=13.9",
#   "urllib3>=2.2",
# ]
# ///
"""Look at a run before scaling it; ``--help`` says how."""

import os
import sys
from importlib import import_module

HERE = os.path.dirname(os.path.realpath(__file__))
sys.dont_write_bytecode |= not os.stat(HERE).st_mode & 0o222  # a read-only bundle stays as it is

if __name__ == "__main__":
    sys.path.insert(0, HERE)
    import_module("image_grounding.launch").launch("image_grounding.cli.inspect", "inspect_command")
else:  # PYTHONPATH names this folder, and the standard library's inspect is meant
    sys.path[:] = [path for path in sys.path if os.path.realpath(path or ".") != HERE] + [HERE]
    del sys.modules[__name__]
    import_module("inspect")
