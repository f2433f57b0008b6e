# SPDX-License-Identifier: Apache-2.0
"""The report page: one HTML file that opens from disk and needs no network."""

from image_grounding.inspection.page.render import run_identity, write_page

__all__ = ["run_identity", "write_page"]
