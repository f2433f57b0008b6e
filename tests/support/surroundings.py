# SPDX-License-Identifier: Apache-2.0
"""What the tests, and all that they start, find around them: quick to use, and nobody's own."""

import atexit
import os
import tempfile
from pathlib import Path

import certifi

_END = "-----END CERTIFICATE-----\n"
_MEMORY = Path("/dev/shm")
_ENOUGH = 4 << 30  # bytes; all that the tests write is a small part of it


def prepare() -> None:
    """Change the environment of this process; those that it starts inherit that."""
    _write_to_memory()
    _trust_one_authority()
    # The suite starts a great many processes; without bytecode each would compile the SDKs anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def _write_to_memory() -> None:
    """Put temporary files where no disk is waited for, if there is room and programs may run."""
    if "TMPDIR" in os.environ or not os.access(_MEMORY, os.W_OK | os.X_OK):
        return
    found = os.statvfs(_MEMORY)
    if found.f_bavail * found.f_frsize > _ENOUGH and not found.f_flag & os.ST_NOEXEC:
        os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)


def _trust_one_authority() -> None:
    """Let TLS trust one authority.

    Every client of an SDK reads all that there are, google-genai thrice, and no test meets any.
    """
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    path = Path(folder.name, "authority.pem")
    first, _, _ = Path(certifi.where()).read_text(encoding="utf-8").partition(_END)
    path.write_text(first[first.index("-----BEGIN") :] + _END, encoding="utf-8")
    os.environ["SSL_CERT_FILE"] = str(path)
    os.environ.pop("SSL_CERT_DIR", None)
