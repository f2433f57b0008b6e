# SPDX-License-Identifier: Apache-2.0
"""``python -m image_grounding``."""

from image_grounding.cli import main

main()
