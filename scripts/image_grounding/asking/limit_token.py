# SPDX-License-Identifier: Apache-2.0
"""The token that a limit server and its runs share: it is in the environment alone."""

import os

from image_grounding.errors import SharedLimitError

VARIABLE = "IMAGE_GROUNDING_LIMIT_TOKEN"


def limit_token() -> str:
    """The token, "" where there is none.

    Raises:
        SharedLimitError: no HTTP header can carry it.
    """
    token = os.environ.get(VARIABLE, "").strip()
    if not (token.isascii() and token.isprintable()):
        raise SharedLimitError(
            f"{VARIABLE} holds a line break or another character that cannot be sent",
            remedy="put the token alone, on one line, into it",
        )
    return token
