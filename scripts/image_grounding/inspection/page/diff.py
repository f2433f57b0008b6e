# SPDX-License-Identifier: Apache-2.0
"""The words that differ between two captions."""

import re
from difflib import SequenceMatcher

# Words; single characters of scripts without spaces between words; spaces; the rest.
_UNSPACED = "\u0e00-\u0e7f\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
_TOKEN = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|\s+|.", re.DOTALL)
# The cost of comparing is the product of both lengths.
_MAX_TOKENS = 2000

Piece = tuple[str, str]


def word_diff(before: str, after: str) -> list[Piece]:
    """The change from ``before`` to ``after`` as ("=", kept), ("-", removed), ("+", added).

    The "=" and "-" pieces together are ``before``, the "=" and "+" pieces ``after``.
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
