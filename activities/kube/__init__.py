"""The only place where the Kubernetes client is imported. Bytes come in here and leave as `mesh.k8s.objects`."""
