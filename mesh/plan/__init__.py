"""What an upgrade may do and in which order: the policy's values, the policy file, waves.

Only `policy_file` parses or validates; nothing here reads a cluster, a clock or the rules of advice.
"""
