"""Reads what a kubeconfig says by itself, without the client: its import takes longer than all else of a command."""

from __future__ import annotations

import yaml
from kubernetes.config import ConfigException, list_kube_config_contexts
from kubernetes.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION, KubeConfigMerger

from mesh.errors import RefusedError

#: What the client raises for a file of another form: it reads keys of whatever YAML gives.
NOT_A_KUBECONFIG = (TypeError, AttributeError, yaml.YAMLError)


def current_context(kubeconfig: str | None) -> str | None:
    """The name of the current context, None in a Pod or where there is no kubeconfig.

    Raises:
        RefusedError: the file is not a kubeconfig.
    """
    try:
        _, active = list_kube_config_contexts(config_file=kubeconfig)
    except NOT_A_KUBECONFIG as error:
        raise unusable_kubeconfig(kubeconfig or KUBE_CONFIG_DEFAULT_LOCATION, "it is not a kubeconfig file") from error
    except (ConfigException, OSError):
        return None
    name: str = active["name"]
    return name


def unusable_kubeconfig(location: str, problem: str) -> RefusedError:
    """Returns the refusal of a kubeconfig."""
    return RefusedError(
        f"The kubeconfig {location} cannot be used: {problem}.",
        "Name another with --kubeconfig, or another context with --context.",
    )


def disables_compression(kubeconfig: str | None, context: str) -> bool:
    """Whether the cluster of a context has `disable-compression` set.

    Source: k8s.io/client-go/tools/clientcmd/api, Cluster.DisableCompression.
    """
    merged = KubeConfigMerger(kubeconfig or KUBE_CONFIG_DEFAULT_LOCATION).config
    cluster = merged["contexts"].get_with_name(context)["context"]["cluster"]
    return bool(merged["clusters"].get_with_name(cluster)["cluster"].safe_get("disable-compression"))
