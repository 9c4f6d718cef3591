"""Kubernetes as any of its clients knows it: objects, owners, rollouts, disruption budgets, warnings on Pods.

Knows nothing of Istio's rules, nor of what an upgrade does.
"""
