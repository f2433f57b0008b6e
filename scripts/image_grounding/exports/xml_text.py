# SPDX-License-Identifier: Apache-2.0
"""Text that XML can hold."""

import re

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xml_text(text: str) -> str:
    """``text`` with U+FFFD for characters that XML 1.0 cannot hold, even escaped."""
    return _NOT_IN_XML.sub("\ufffd", text)
