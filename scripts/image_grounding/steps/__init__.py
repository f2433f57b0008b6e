# SPDX-License-Identifier: Apache-2.0
"""The steps: what each asks, how replies are read, what it adds to a record."""
