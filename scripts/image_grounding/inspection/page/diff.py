# SPDX-License-Identifier: Apache-2.0
"""The words that differ between two captions."""

import re
from difflib import SequenceMatcher

# Words; single characters of scripts that put no spaces between words; spaces; the rest.
_UNSPACED = "\u0e00-\u0e7f\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
_TOKEN = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|\s+|.", re.DOTALL)
# Comparing takes the product of both lengths; a caption this long is no caption.
_MAX_TOKENS = 2000

Piece = tuple[str, str]


def word_diff(before: str, after: str) -> list[Piece]:
    """What became of ``before``, as ("=", same), ("-", removed) and ("+", added) pieces.

    The "=" and "-" pieces together are ``before``, the "=" and "+" ones ``after``.
    """
    old, new = _TOKEN.findall(before), _TOKEN.findall(after)
    if before == after:
        return [("=", before)]
    if max(len(old), len(new)) > _MAX_TOKENS:
        return [("-", before), ("+", after)]
    pieces: list[Piece] = []
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal":
            pieces.append(("=", "".join(old[i1:i2])))
            continue
        if i1 < i2:
            pieces.append(("-", "".join(old[i1:i2])))
        if j1 < j2:
            pieces.append(("+", "".join(new[j1:j2])))
    return pieces
