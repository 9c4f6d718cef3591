"""How commands print: JSON documents (docs/reference/json.md), tables and texts for people.

Pure functions of what they render; only `output` writes to stdout and stderr.
"""
