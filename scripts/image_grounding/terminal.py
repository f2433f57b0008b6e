# SPDX-License-Identifier: Apache-2.0
"""Text for a terminal: names of files, captions and replies are anybody's."""


def printable(text: str) -> str:
    """``text`` without what moves a cursor or recolours: only its line breaks stay."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)
