# SPDX-License-Identifier: Apache-2.0
"""Rules of thumb for what texts take, for estimates: no tokenizer.

Text: a token for every 4 bytes of UTF-8. Expressions of a caption that step 0 has not seen yet:
one for every 24 bytes. Replies: step 0 repeats the caption and takes 24 tokens for each
expression; step 1 takes 40.
"""

EXTRACTED_TOKENS = 24
GROUNDED_TOKENS = 40
_BYTES_PER_TOKEN = 4
_BYTES_PER_EXPRESSION = 24


def text_tokens(text: str) -> int:
    """Tokens of a text."""
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN)


def expected_expressions(caption: str) -> int:
    """How many referring expressions a caption is likely to have; at least one."""
    return max(1, round(len(caption.encode("utf-8", "replace")) / _BYTES_PER_EXPRESSION))
