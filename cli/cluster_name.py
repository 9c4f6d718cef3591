"""The name of the cluster, without a connection to it: Temporal can be read while the cluster is down."""

from __future__ import annotations

from mesh.errors import RefusedError
from mesh.identity import cluster_name
from worker.settings import ClusterSettings


def cluster_name_from(settings: ClusterSettings) -> str:
    """Returns the name from the settings, else from the kubeconfig's current context.

    Raises:
        RefusedError: neither names a cluster.
    """
    text = settings.cluster or settings.context
    if not text:
        from activities.kube.kubeconfig import current_context  # noqa: PLC0415  # 0.1 s that a given name saves

        text = current_context(settings.kubeconfig)
    if not text:
        raise RefusedError(
            "No cluster is selected: no kubeconfig with a current context was found.",
            "Name the cluster with --cluster, or a kubeconfig with --kubeconfig.",
        )
    return cluster_name(text)
