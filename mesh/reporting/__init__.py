"""Reports of an upgrade: one document, and a pure function per format that makes text of it.

The document is what `report --format json` prints; its keys are those of the contract. Nothing of it is trusted: names,
details and operators' words are escaped by whoever writes a format.
"""
