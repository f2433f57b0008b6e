# SPDX-License-Identifier: Apache-2.0
"""An HTTP answer as bytes."""

import json
from typing import Any


def answer(
    body: bytes | str | dict[str, Any] = b"",
    status: int = 200,
    kind: str = "application/json",
    length: int | None = None,
    **headers: str,
) -> bytes:
    """A whole HTTP answer, with a ``length`` other than its body's if there is one."""
    body = json.dumps(body) if isinstance(body, dict) else body
    body = body.encode() if isinstance(body, str) else body
    given = {"content-type": kind, "content-length": len(body) if length is None else length}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status} Status", *(f"{name}: {value}" for name, value in given.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
