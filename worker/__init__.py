"""The process of a worker: settings, connections, logging, and the composition of activities and workers.

Holds no rule of an upgrade; imports every layer below it, and may not import the CLI.
"""
