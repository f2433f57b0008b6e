# SPDX-License-Identifier: Apache-2.0
"""The SDKs, each behind one small interface: one call, one HTTP request."""
