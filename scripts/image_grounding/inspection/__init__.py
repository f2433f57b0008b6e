# SPDX-License-Identifier: Apache-2.0
"""Looking at a run before scaling it: checks, a report page, precision from a review."""
