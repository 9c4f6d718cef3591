"""Reports of an upgrade: one document, and a pure function per format that renders it as text.

The document is what `report --format json` prints; its fields are in docs/reference/json.md. Each format escapes names,
details and operators' texts itself: nothing in the document is trusted.
"""
