# SPDX-License-Identifier: Apache-2.0
"""The setup wizard: an interview, on a terminal or by flags, that ends in a spec."""
