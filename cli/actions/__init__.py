"""What each command does once its options are parsed: connects, reads or writes, prints, and returns an exit code.

A module here is imported when its command runs, so it may import Temporal's and the cluster's clients.
"""
