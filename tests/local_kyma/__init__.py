"""The stand-in for Kyma: its rules, and one upgrade on a mesh."""
