# SPDX-License-Identifier: Apache-2.0
"""Runs whose pictures are made ready and whose requests are sent by workers of Ray."""
