"""Reads the cluster for surveys, and keeps a reading while it is fresh. Changes nothing in the cluster.

How a reading is judged stands in `mesh.survey`.
"""
