"""What commands read from Temporal and send to it: upgrades, waves and items.

Returns documents and statuses; may not talk to a cluster, and may not know commands and their options.
"""
