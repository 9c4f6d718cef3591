"""Trees of elements: whatever text goes in comes out escaped, so nothing from a cluster becomes markup."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, SubElement

#: What XML 1.0 has no way to say (https://www.w3.org/TR/xml/#charsets), and what would turn a line of text around.
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """The text without characters that may not be in a document."""
    return _FORBIDDEN.sub("", text)


def add(parent: Element, tag: str, text: str | None = None, **attributes: str) -> Element:
    """A new last child. `class_` stands for `class`, `http_equiv` for `http-equiv`."""
    named = {name.rstrip("_").replace("_", "-"): clean(value) for name, value in attributes.items()}
    child = SubElement(parent, tag, named)
    if text is not None:
        child.text = clean(text)
    return child
