"""A survey of a snapshot: the class of each Pod, and for each workload the action and the reason why not.

Reads snapshots alone. Precedence stands in ordered tables of rules; nothing here plans waves, or words advice.
"""
