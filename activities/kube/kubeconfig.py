"""What a kubeconfig says by itself. Without the client, whose import takes longer than all else of a short command."""

from __future__ import annotations

from kubernetes.config import ConfigException, list_kube_config_contexts


def current_context(kubeconfig: str | None) -> str | None:
    """The name of the current context, None in a Pod or where there is no kubeconfig."""
    try:
        _, active = list_kube_config_contexts(config_file=kubeconfig)
    except (ConfigException, OSError):
        return None
    name: str = active["name"]
    return name
