"""Characters that may not be in an XML or HTML document."""

from __future__ import annotations

import re

#: What XML 1.0 cannot express (https://www.w3.org/TR/xml/#charsets), and what would reverse the direction of a line.
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Returns the text without the characters that a document may not contain."""
    return _FORBIDDEN.sub("", text)
