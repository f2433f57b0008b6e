# SPDX-License-Identifier: Apache-2.0
"""What lies at addresses: objects in buckets, and files that web servers give out."""
