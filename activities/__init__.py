"""The shell: side effects as Temporal activities, one class per concern, each built with what it depends on.

The Kubernetes client is imported in `activities.kube` only; everything else gets snapshots (`mesh.k8s.objects`).
"""
