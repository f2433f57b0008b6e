# SPDX-License-Identifier: Apache-2.0
"""The matrix of faults: each is injected for real, and the same invariants hold after each."""
