# SPDX-License-Identifier: Apache-2.0
"""The input: lines to samples, which of them a run takes, sources to make it from."""
