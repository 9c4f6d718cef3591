"""How commands print: JSON documents of the contract, tables and texts for people.

Pure functions of what they render; only `output` writes to stdout and stderr.
"""
