"""What is true about meshes: a pure functional core. Snapshots go in, decisions come out.

No input or output, no clock, no environment, no randomness: time is an argument, and so is everything that the cluster
said. Imports the standard library, msgspec, pydantic (policy files), PyYAML (ConfigMaps), jinja2 (reports) and the time
zones of tzdata, which is locked like code.
"""
