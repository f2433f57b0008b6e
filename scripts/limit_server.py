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
"""Give out one quota to runs on several machines; ``--help`` says how."""

import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.dont_write_bytecode |= not os.stat(HERE).st_mode & 0o222  # a read-only bundle stays as it is
sys.path.insert(0, HERE)

from image_grounding.launch import launch

if __name__ == "__main__":
    launch("image_grounding.cli.limit_server", "limit_server_command")
