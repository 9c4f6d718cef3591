"""`kyma-upgrade start`: starts the upgrade of a cluster, or attaches to the one that runs with the same target."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import click

from cli.commands.status import attach_again, forgiven, seconds, tell_end
from cli.exit_codes import DONE
from cli.options import Option, cluster_options, operator, output_option, settings_from, temporal_options
from cli.render.output import emit, say

if TYPE_CHECKING:
    from temporalio.client import Client

    from activities.boundary import ServedCluster
    from activities.control_plane import ResolvedTarget
    from cli.temporal.follow_upgrade import WaitOptions
    from mesh.plan.policy import Policy
    from worker.settings import Settings

_DRIVERS = ("kyma", "sail", "external")
#: A worker answers an attach within milliseconds; without one the upgrade starts and waits for it.
_ATTACH_SECONDS = 15.0
_KEY, _UID = "idempotencyKey", "uid"


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for."""

    to: str
    who: str
    policy_file: str | None = None
    restarts: Literal["ours", "module"] | None = None
    key: str | None = None
    dry_run: bool = False
    output: str | None = None


@click.command()
@cluster_options
@temporal_options
@click.option("--to", required=True, metavar="TARGET", help="Channel, module version, Istio version, or 'current'.")
@click.option("--driver", type=click.Choice(_DRIVERS), default="kyma", show_default=True, help="What runs Istio here.")
@click.option("--policy", "policy_file", metavar="FILE", help="Order, pace and limits; see `schema policy`.")
@click.option("--restarts", type=click.Choice(["ours", "module"]), help="Who restarts; default: as the policy says.")
@click.option("--wait", "wait_", is_flag=True, help="Return when it is done or needs an operator.")
@click.option("--wait-to-end", is_flag=True, help="Return when it is done: stay through pauses.")
@click.option("--timeout", metavar="DURATION", help="Give up waiting after this time, as 90s or 2h30m (exit code 5).")
@click.option("--idempotency-key", "key", metavar="KEY", help="The same key again attaches, also after the end.")
@click.option("--who", metavar="NAME", help="Who starts it; default: user@host.")
@click.option("--dry-run", is_flag=True, help="Check everything, say what would be done, change nothing.")
@click.option("--ok", type=int, multiple=True, metavar="N", help="Make this exit code 0; repeatable.")
@output_option()
def start(
    to: str,
    driver: str,
    policy_file: str | None,
    restarts: Literal["ours", "module"] | None,
    wait_: bool,
    wait_to_end: bool,
    timeout: str | None,
    key: str | None,
    who: str | None,
    dry_run: bool,
    ok: tuple[int, ...],
    output: str | None,
    **options: Option,
) -> int:
    """Start the upgrade of the cluster, or attach to the one that runs with the same target."""
    from cli.temporal.follow_upgrade import WaitOptions
    from cli.temporal.session import run
    from mesh.errors import RefusedError

    if driver != "kyma":
        raise RefusedError(f"The {driver} driver is not available in this version.", "Use --driver kyma.")
    settings = settings_from(options)
    wish = Wish(to, operator(who), policy_file, restarts, key, dry_run, output)
    patience = WaitOptions(seconds(timeout), wait_to_end) if wait_ or wait_to_end else None
    state = _State()
    return forgiven(run(_start(settings, wish, patience, state), state.interrupted), ok)


@dataclass(slots=True)
class _State:
    """What an interruption has to tell."""

    started: str | None = None

    def interrupted(self) -> str:
        return attach_again(self.started) if self.started else "Interrupted; nothing was started."


async def _start(settings: Settings, wish: Wish, patience: WaitOptions | None, state: _State) -> int:
    from activities.control_plane import resolve_target
    from cli.temporal.follow_upgrade import follow
    from cli.temporal.session import temporal
    from cli.temporal.upgrade_status import deep_link
    from mesh.identity import upgrade_id
    from worker.compose import compose_cluster

    policy = _policy(wish)
    client = await temporal(settings)
    async with compose_cluster(settings.cluster) as served:
        resolved = await resolve_target(served.cluster, wish.to)
        name = served.ref.name
        say(_told(wish.to, name, resolved))
        before = await _Running.find(client, name)
        before.refuse_another(served.ref.uid, resolved, wish)
        if wish.dry_run:
            await _dry_run(served, resolved, before, wish)
            return DONE
        if before.run_id is not None and before.is_same(wish.key):
            run_id = before.run_id
            say("This key has started an upgrade already: attached to it.")
        else:
            run_id = await _attach(client, served, resolved, policy, wish)
            say("Attached to the upgrade that runs." if run_id == before.run_id else "The upgrade has started.")
    state.started = name
    link = deep_link(settings.temporal.ui, client.namespace, upgrade_id(name), run_id)
    say(f"Workflow {upgrade_id(name)}" + (f": {link}" if link else f" in Temporal namespace {client.namespace}"))
    if patience is None:
        document = {"cluster": name, "workflowId": upgrade_id(name), "runId": run_id, "url": link}
        emit(document, wish.output, lambda: upgrade_id(name))
        return DONE
    found, code = await follow(client, name, patience)
    tell_end(found.document, wish.output)
    return code


def _policy(wish: Wish) -> Policy:
    from pathlib import Path

    from mesh.errors import RefusedError
    from mesh.plan.policy import Policy
    from mesh.plan.policy_file import parse_policy_file

    policy = Policy()
    if wish.policy_file is not None:
        try:
            policy = parse_policy_file(Path(wish.policy_file).read_text(), wish.policy_file)
        except (OSError, UnicodeDecodeError) as error:
            raise RefusedError(f"The policy file cannot be read: {error}.", "Check --policy.") from error
    return replace(policy, restarts=wish.restarts) if wish.restarts else policy


def _told(to: str, cluster: str, resolved: ResolvedTarget) -> str:
    installed = f"Istio {resolved.installed} is installed" if resolved.installed else "no Istio is installed"
    if resolved.already_installed:
        installed += "; the control plane is there already, so only the data plane is done"
    return f"Cluster {cluster}: {to} means {resolved.target}; {installed}."


@dataclass(frozen=True, slots=True)
class _Running:
    """The upgrade that Temporal knows of, before anything is asked of it."""

    run_id: str | None = None
    running: bool = False
    istio: str | None = None
    key: str | None = None
    uid: str | None = None

    @classmethod
    async def find(cls, client: Client, cluster: str) -> _Running:
        from temporalio.client import WorkflowExecutionStatus
        from temporalio.service import RPCError

        from activities.search_attributes import TARGET
        from cli.temporal.session import is_absent
        from mesh.identity import upgrade_id

        try:
            found = await client.get_workflow_handle(upgrade_id(cluster)).describe()
        except RPCError as error:
            if is_absent(error):
                return cls()
            raise
        memo = await found.memo()
        running = found.status is WorkflowExecutionStatus.RUNNING
        target = found.typed_search_attributes.get(TARGET)
        return cls(found.run_id, running, target, memo.get(_KEY), memo.get(_UID))

    def is_same(self, key: str | None) -> bool:
        """Whether this very request has started it: then a retry attaches, even to one that has ended."""
        return key is not None and key == self.key

    def refuse_another(self, uid: str, resolved: ResolvedTarget, wish: Wish) -> None:
        """What can be refused without a worker. The workflow itself refuses what happens between now and then."""
        from mesh.errors import ConflictError

        if self.running and self.uid not in (None, uid):
            raise ConflictError(
                "An upgrade of another cluster runs under this name.",
                "Give one of the two another name with --cluster.",
            )
        if self.running and self.istio not in (None, resolved.target.istio) and not self.is_same(wish.key):
            raise ConflictError(
                f"An upgrade to Istio {self.istio} is under way; it was asked for {resolved.target}.",
                "Wait for it (kyma-upgrade wait), or end it (kyma-upgrade abort).",
            )


async def _attach(client: Client, served: ServedCluster, resolved: ResolvedTarget, policy: Policy, wish: Wish) -> str:
    """Starts or attaches in one step; the run. Without a worker the upgrade starts and the answer is not waited for."""
    from temporalio.client import WithStartWorkflowOperation, WorkflowUpdateRPCTimeoutOrCancelledError
    from temporalio.common import WorkflowIDConflictPolicy

    from mesh.identity import TASK_QUEUE, upgrade_id
    from workflows.messages import AttachInput, Progress, UpgradeInput, UpgradeResult

    start_operation: WithStartWorkflowOperation[Any, UpgradeResult] = WithStartWorkflowOperation(
        "Upgrade",
        UpgradeInput(served.ref, wish.to, policy, wish.who),
        id=upgrade_id(served.ref.name),
        task_queue=TASK_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=f"{served.ref.name}: {resolved.target}",
        memo={_UID: served.ref.uid, _KEY: wish.key, "who": wish.who},
        result_type=UpgradeResult,
    )
    started = asyncio.ensure_future(start_operation.workflow_handle())
    try:
        async with asyncio.timeout(_ATTACH_SECONDS):
            await client.execute_update_with_start_workflow(
                "attach",
                AttachInput(wish.to, resolved.target, served.ref),
                id=wish.key,
                start_workflow_operation=start_operation,
                result_type=Progress,
            )
            run_id = (await started).first_execution_run_id
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
        say("No worker answers yet: the upgrade begins when one does (kyma-upgrade worker).")
        run_id = None
    finally:
        # An error of the start is kept by the operation too, and asyncio logs one that nobody took, whenever that is.
        started.cancel()
        await asyncio.gather(started, return_exceptions=True)
    return run_id or (await client.get_workflow_handle(upgrade_id(served.ref.name)).describe()).run_id


async def _dry_run(served: ServedCluster, resolved: ResolvedTarget, before: _Running, wish: Wish) -> None:
    from activities.survey.run import run_survey
    from cli.render.documents import changed_by
    from mesh.istio.versions import parse_version

    survey = await run_survey(served.cluster)
    target = resolved.target
    version = parse_version(target.istio or "")
    changed = changed_by(survey, version) if version else {}
    document = {
        "dryRun": True,
        "cluster": served.ref.name,
        "target": {"module": target.module, "istio": target.istio, "channel": target.channel},
        "controlPlane": "is there already" if resolved.already_installed else "would be upgraded",
        "workloads": {"changed": len(changed), "pods": sum(changed.values())},
        "running": before.running,
    }
    emit(
        document,
        wish.output,
        lambda: (
            f"Nothing was changed. The control plane {document['controlPlane']}; {len(changed)} workloads with "
            f"{sum(changed.values())} Pods would get another proxy."
            + (" It would attach to the upgrade that runs." if before.running else "")
        ),
    )
