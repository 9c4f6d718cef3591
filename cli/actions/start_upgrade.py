"""Starts the upgrade of a cluster, or attaches to the running one with the same target."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from temporalio.client import Client, WithStartWorkflowOperation, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.common import WorkflowIDConflictPolicy

from activities.boundary import ServedCluster
from activities.control_plane import ResolvedTarget, resolve_target
from activities.survey.run import run_survey
from cli.actions.wait_for_upgrade import attach_again, print_outcome
from cli.exit_codes import DONE
from cli.render.output import emit, say
from cli.render.scan_document import changed_by
from cli.render.start_document import dry_run_document, start_document
from cli.temporal.follow_upgrade import WaitOptions, follow
from cli.temporal.links import workflow_link
from cli.temporal.session import connect_temporal
from cli.temporal.start_request import KEY_MEMO, UID_MEMO, LatestUpgrade, StartRequest
from mesh.errors import RefusedError
from mesh.identity import TASK_QUEUE, upgrade_id
from mesh.istio.versions import parse_version
from mesh.plan.policy import Policy
from mesh.plan.policy_file import parse_policy_file
from mesh.reporting.document import counted_noun
from worker.compose import compose_cluster
from worker.settings import Settings
from workflows.messages import AttachInput, Progress, UpgradeInput, UpgradeResult

__all__ = ["Start", "StartRequest"]

#: A worker that runs answers an attach within milliseconds; without one, the upgrade waits for a worker.
_ATTACH_SECONDS = 15.0


class Start:
    """One run of `start`; knows whether it has started an upgrade when it is interrupted."""

    def __init__(
        self, settings: Settings, request: StartRequest, waits: WaitOptions | None, output: str | None
    ) -> None:
        self._settings = settings
        self._request = request
        self._waits = waits
        self._output = output
        self._started: str | None = None

    def interrupted(self) -> str:
        """Returns the message of an interruption."""
        return attach_again(self._started) if self._started else "Interrupted; no upgrade was started."

    async def run(self) -> int:
        """Resolves the target, starts or attaches, waits if requested; returns the exit code."""
        policy = _policy(self._request)
        client = await connect_temporal(self._settings)
        async with compose_cluster(self._settings.cluster) as served:
            resolved = await resolve_target(served.cluster, self._request.to)
            name = served.ref.name
            say(_resolution(self._request.to, name, resolved))
            latest = await LatestUpgrade.find(client, name)
            latest.refuse_other(served.ref.uid, resolved, self._request)
            if self._request.dry_run:
                await self._dry_run(served, resolved, latest)
                return DONE
            if latest.run_id is not None and latest.has_key(self._request.key):
                run_id = latest.run_id
                say("This idempotency key has already started an upgrade; attached to it.")
            else:
                run_id = await start_or_attach(client, served, resolved, policy, self._request)
                say("Attached to the running upgrade." if run_id == latest.run_id else "The upgrade has started.")
        self._started = name
        return await self._follow(client, name, run_id)

    async def _follow(self, client: Client, name: str, run_id: str) -> int:
        identity = upgrade_id(name)
        link = workflow_link(self._settings.temporal.ui, client.namespace, identity, run_id)
        say(f"Workflow {identity}" + (f": {link}" if link else f" in Temporal namespace {client.namespace}"))
        if self._waits is None:
            emit(start_document(name, identity, run_id, link), self._output, lambda: identity)
            return DONE
        upgrade, code = await follow(client, name, self._waits)
        print_outcome(upgrade.document, self._output)
        return code

    async def _dry_run(self, served: ServedCluster, resolved: ResolvedTarget, latest: LatestUpgrade) -> None:
        target = resolved.target
        version = parse_version(target.istio or "")
        survey = await run_survey(served.cluster)
        changed = changed_by(survey, version) if version else {}
        proxies = f"{counted_noun(len(changed), 'workload')} ({counted_noun(sum(changed.values()), 'Pod')})"
        verb = "does" if len(changed) == 1 else "do"
        control_plane = "is already at the target" if resolved.already_installed else "would be upgraded"
        document = dry_run_document(served.ref.name, target, control_plane, changed.values(), running=latest.running)
        text = f"The control plane {control_plane}. {proxies} {verb} not run the target's proxy."
        if latest.running:
            text += " `start` would attach to the running upgrade."
        emit(document, self._output, lambda: f"{text} Nothing was changed.")


def _policy(request: StartRequest) -> Policy:
    policy = Policy()
    if request.policy_file is not None:
        try:
            policy = parse_policy_file(Path(request.policy_file).read_text(), request.policy_file)
        except FileNotFoundError as error:
            raise RefusedError(f"The policy file {request.policy_file} does not exist.", "Check --policy.") from error
        except (OSError, UnicodeDecodeError) as error:
            raise RefusedError(f"The policy file cannot be read: {error}.", "Check --policy.") from error
    return replace(policy, restarts=request.restarts) if request.restarts else policy


def _resolution(to: str, cluster: str, resolved: ResolvedTarget) -> str:
    installed = f"Istio {resolved.installed} is installed." if resolved.installed else "No Istio is installed."
    if resolved.already_installed:
        installed += " The control plane is already at the target. Only sidecars are restarted."
    return f"Cluster {cluster}: target {to} is {resolved.target}. {installed}"


async def start_or_attach(
    client: Client, served: ServedCluster, resolved: ResolvedTarget, policy: Policy, request: StartRequest
) -> str:
    """Starts the upgrade or attaches to it, in one call; returns the run id.

    Without a worker, the upgrade has started when this returns, but its workflow has not accepted the attach yet.
    """
    start_operation: WithStartWorkflowOperation[Any, UpgradeResult] = WithStartWorkflowOperation(
        "Upgrade",
        UpgradeInput(served.ref, request.to, policy, request.who),
        id=upgrade_id(served.ref.name),
        task_queue=TASK_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=f"{served.ref.name}: {resolved.target}",
        memo={UID_MEMO: served.ref.uid, KEY_MEMO: request.key, "who": request.who},
        result_type=UpgradeResult,
    )
    started = asyncio.ensure_future(start_operation.workflow_handle())
    try:
        async with asyncio.timeout(_ATTACH_SECONDS):
            await client.execute_update_with_start_workflow(
                "attach",
                AttachInput(request.to, resolved.target, served.ref),
                id=request.key,
                start_workflow_operation=start_operation,
                result_type=Progress,
            )
            run_id = (await started).first_execution_run_id
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
        say("No worker answers yet. The upgrade begins as soon as a worker runs: kyma-upgrade worker")
        run_id = None
    finally:
        # The operation keeps an error of the start as well; asyncio would log it later as never retrieved.
        started.cancel()
        await asyncio.gather(started, return_exceptions=True)
    return run_id or (await client.get_workflow_handle(upgrade_id(served.ref.name)).describe()).run_id
