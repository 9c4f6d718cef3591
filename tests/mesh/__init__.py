"""The pure core, tried without a cluster."""
