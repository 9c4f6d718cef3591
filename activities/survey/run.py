"""Reads what a survey is judged from, and runs surveys: for the activities, for `scan` and for `plan`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from activities.istiod.injector import ask_injector
from activities.istiod.proxy_status import read_connected_proxies
from activities.kube.client import ClusterClient
from activities.kube.snapshot import read_snapshot
from mesh.errors import PermissionDeniedError
from mesh.istio.expected_proxy import ExpectedProxy
from mesh.istio.proxy_status import NO_CONNECTED_PROXIES, ConnectedProxies
from mesh.survey.builder import SurveyBuilder
from mesh.survey.snapshot import NO_UPGRADE, ClusterSnapshot, UpgradeContext
from mesh.survey.survey import Survey


@dataclass(frozen=True, slots=True)
class ClusterReading:
    """What a survey is judged from: the snapshot, the injector's answers, and the proxies that istiods list.

    Nothing of it depends on the caller: `survey` judges the reading for each caller's context.
    """

    snapshot: ClusterSnapshot
    builder: SurveyBuilder
    answers: Mapping[str, ExpectedProxy]
    connected: ConnectedProxies

    def survey(self, context: UpgradeContext = NO_UPGRADE, namespace: str | None = None) -> Survey:
        """Judges every Pod of the reading, or every Pod of one namespace."""
        builder = self.builder
        if namespace is not None:
            pods = tuple(pod for pod in self.snapshot.pods if pod.metadata.namespace == namespace)
            builder = SurveyBuilder(replace(self.snapshot, pods=pods))
        return builder.survey(self.answers, context, self.connected)


async def read_cluster(cluster: ClusterClient, namespaces: Sequence[str] = ()) -> ClusterReading:
    """Reads all namespaces, or some of them, to act on.

    Raises:
        PermissionDeniedError: a part cannot be read.
    """
    reading = await _read_permitted(cluster, namespaces)
    if reading.snapshot.problems:
        raise PermissionDeniedError(" ".join(reading.snapshot.problems), "Grant the rights, see deploy/rbac.yaml.")
    return reading


async def run_survey(
    cluster: ClusterClient, namespaces: Sequence[str] = (), context: UpgradeContext = NO_UPGRADE
) -> Survey:
    """Surveys all namespaces, or some of them, to act on.

    Raises:
        PermissionDeniedError: a part cannot be read.
    """
    return (await read_cluster(cluster, namespaces)).survey(context)


async def run_partial_survey(
    cluster: ClusterClient, namespaces: Sequence[str] = (), context: UpgradeContext = NO_UPGRADE
) -> tuple[Survey, ClusterSnapshot]:
    """Surveys what can be read. `problems` of the snapshot say what cannot."""
    reading = await _read_permitted(cluster, namespaces)
    return reading.survey(context), reading.snapshot


async def _read_permitted(cluster: ClusterClient, namespaces: Sequence[str]) -> ClusterReading:
    snapshot = await read_snapshot(cluster, namespaces)
    builder = SurveyBuilder(snapshot)
    answers = await ask_injector(cluster, snapshot.injector, builder.queries)
    # Most images carry a version, and then istiods need not be asked.
    connected = await read_connected_proxies(cluster) if builder.needs_proxy_versions(answers) else NO_CONNECTED_PROXIES
    return ClusterReading(snapshot, builder, answers, connected)
