# SPDX-License-Identifier: Apache-2.0
"""What each tool does; its options are in ``cli``, which ``--help`` loads alone."""
