"""Every workflow type that a worker serves and the replay tests replay."""

from __future__ import annotations

from workflows.cluster_watch import ClusterWatchWorkflow
from workflows.remediation_item import RemediationItemWorkflow
from workflows.upgrade import UpgradeWorkflow
from workflows.wave import WaveWorkflow

ALL_WORKFLOWS = (UpgradeWorkflow, WaveWorkflow, RemediationItemWorkflow, ClusterWatchWorkflow)
