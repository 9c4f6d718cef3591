"""The Kubernetes API: the one place that imports a Kubernetes client. Answers leave as `mesh.k8s.objects`.

Decides nothing about upgrades, knows neither Temporal nor istiod, and imports no other package of activities.
"""
