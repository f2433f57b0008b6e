# SPDX-License-Identifier: Apache-2.0
"""Quality control of a run: checks, a report page, precision from a review."""
