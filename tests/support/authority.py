# SPDX-License-Identifier: Apache-2.0
"""One authority that TLS trusts, in the place of all that there are."""

import atexit
import os
import tempfile
from pathlib import Path

import certifi

_END = "-----END CERTIFICATE-----\n"


def trust_one_authority() -> None:
    """Let this process and those that it starts read one authority.

    Every client of an SDK reads all of them, google-genai thrice, and no test meets any.
    """
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    path = Path(folder.name, "authority.pem")
    first, _, _ = Path(certifi.where()).read_text(encoding="utf-8").partition(_END)
    path.write_text(first[first.index("-----BEGIN") :] + _END, encoding="utf-8")
    os.environ["SSL_CERT_FILE"] = str(path)
    os.environ.pop("SSL_CERT_DIR", None)
