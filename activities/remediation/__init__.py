"""The remediation queue: opens items, warns on their Pods, and watches their workloads.

Changes nothing in the cluster but warnings and Events; restarts are the business of `activities.restart`.
"""
