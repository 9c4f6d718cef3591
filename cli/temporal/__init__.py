"""What commands read from Temporal and send to it: upgrades, waves and items.

Nothing here prints a document or talks to a cluster.
"""
