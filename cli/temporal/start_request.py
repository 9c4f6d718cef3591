"""What `start` asks for, and the upgrade that Temporal already knows of: together they decide what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from activities.control_plane import ResolvedTarget
from activities.search_attributes import TARGET
from cli.temporal.session import is_absent
from mesh.errors import ConflictError
from mesh.identity import upgrade_id

#: Keys of an upgrade's memo.
KEY_MEMO, UID_MEMO = "idempotencyKey", "uid"


@dataclass(frozen=True, slots=True)
class StartRequest:
    """The options of `start`. `key` is the idempotency key of a pipeline."""

    to: str
    who: str
    policy_file: str | None = None
    restarts: Literal["ours", "module"] | None = None
    key: str | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class LatestUpgrade:
    """The cluster's running or latest upgrade as its memo and search attributes describe it; None without one."""

    run_id: str | None = None
    running: bool = False
    istio: str | None = None
    key: str | None = None
    uid: str | None = None

    @classmethod
    async def find(cls, client: Client, cluster: str) -> LatestUpgrade:
        """Reads it from Temporal, without a worker."""
        try:
            execution = await client.get_workflow_handle(upgrade_id(cluster)).describe()
        except RPCError as error:
            if is_absent(error):
                return cls()
            raise
        memo = await execution.memo()
        running = execution.status is WorkflowExecutionStatus.RUNNING
        target = execution.typed_search_attributes.get(TARGET)
        return cls(execution.run_id, running, target, memo.get(KEY_MEMO), memo.get(UID_MEMO))

    def has_key(self, key: str | None) -> bool:
        """Whether a request with this key started it: such a request attaches, even after the end of the upgrade."""
        return key is not None and key == self.key

    def refuse_other(self, uid: str, resolved: ResolvedTarget, request: StartRequest) -> None:
        """Refuses a request that the running upgrade conflicts with. The workflow refuses later conflicts itself.

        Raises:
            ConflictError: the running upgrade is of another cluster, or has another target.
        """
        if self.running and self.uid not in (None, uid):
            raise ConflictError(
                "An upgrade of another cluster is running under this name.",
                "Give one of the two clusters another name with --cluster.",
            )
        if self.running and self.istio not in (None, resolved.target.istio) and not self.has_key(request.key):
            raise ConflictError(
                f"An upgrade to Istio {self.istio} is running; {resolved.target} was requested.",
                "Wait for it (kyma-upgrade wait), or end it (kyma-upgrade abort).",
            )
