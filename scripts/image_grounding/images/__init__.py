# SPDX-License-Identifier: Apache-2.0
"""Image files: where they are, their pixels, the bytes that are sent."""
