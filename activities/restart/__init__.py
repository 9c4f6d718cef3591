"""Restarts one workload: at most one write per attempt, verified by observation.

Decides by the rules of `mesh.survey` only; knows neither waves nor items.
"""
