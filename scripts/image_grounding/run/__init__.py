# SPDX-License-Identifier: Apache-2.0
"""A run: which samples go through which steps, how it is going, when it ends."""
