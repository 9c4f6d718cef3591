"""Clusters far larger than a test can bring up, multiplied from a few objects that a real API server sent."""
