# SPDX-License-Identifier: Apache-2.0
"""Memory in huge pages: a fork copies tens of entries of page tables, not tens of thousands."""

import ctypes
from pathlib import Path

_MAPS = Path("/proc/self/maps")
_COLLAPSE = 25  # MADV_COLLAPSE, of Linux 6.1
_SIZE = 2 << 20


def collapse() -> None:
    """Move what this process has in memory into huge pages, wherever the system can."""
    if not _MAPS.exists():
        return
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for line in _MAPS.read_text(encoding="utf-8").splitlines():
        bounds, access, _, _, inode, *_ = line.split()
        if access == "rw-p" and inode == "0":  # of no file
            start, end = (int(bound, 16) for bound in bounds.split("-"))
            for page in range(-(-start // _SIZE) * _SIZE, end - _SIZE + 1, _SIZE):
                madvise(page, _SIZE, _COLLAPSE)  # where it cannot, all stays as it was
