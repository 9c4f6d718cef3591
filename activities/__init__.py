"""Side effects as Temporal activities: one class per concern, each built with what it depends on.

Decides nothing that `mesh` can decide from values; `activities.kube` alone imports the Kubernetes client.
"""
