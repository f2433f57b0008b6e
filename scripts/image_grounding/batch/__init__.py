# SPDX-License-Identifier: Apache-2.0
"""Runs whose questions wait in a provider's batch queue: handed over today, collected tomorrow."""
