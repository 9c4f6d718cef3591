"""What is true about meshes: a pure functional core.

Holds versions and skew, images, owners, injection truth, staleness, classes, waves, remediation causes and
reports. Snapshots go in, decisions come out. No input or output, no clock, no environment, no randomness: time is
an argument, and so is everything the cluster said. Only the standard library, pydantic, msgspec, for text that is
YAML PyYAML, and for time zones the data of tzdata, which is locked like code.
"""
