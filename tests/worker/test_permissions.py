from pathlib import Path
from typing import Any

import yaml

from worker.permissions import PERMISSIONS, Permission, needed_permissions

_RBAC = Path(__file__).parents[2] / "deploy" / "rbac.yaml"


def _granted() -> list[Permission]:
    documents: list[dict[str, Any]] = [one for one in yaml.safe_load_all(_RBAC.read_text()) if one]
    found = []
    for document in documents:
        if document["kind"] not in ("ClusterRole", "Role"):
            continue
        namespace = document["metadata"].get("namespace")
        for rule in document["rules"]:
            found += [
                Permission(verb, resource, group, namespace, name)
                for group in rule["apiGroups"]
                for resource in rule["resources"]
                for verb in rule["verbs"]
                for name in rule.get("resourceNames", [None])
            ]
    return found


def test_shipped_roles_grant_exactly_what_the_doctor_checks() -> None:
    granted = set(_granted())

    assert granted == set(PERMISSIONS)


def test_permissions_for_argo_rollouts_are_needed_only_in_clusters_that_have_them() -> None:
    without = set(needed_permissions(rollouts=False))

    assert set(needed_permissions(rollouts=True)) == set(PERMISSIONS)
    assert {str(one) for one in set(PERMISSIONS) - without} == {
        "get rollouts",
        "list rollouts",
        "watch rollouts",
        "patch rollouts",
    }


def test_no_permission_is_listed_twice() -> None:
    assert len(set(PERMISSIONS)) == len(PERMISSIONS)
    assert len(set(_granted())) == len(_granted())


def test_secrets_wildcards_and_other_namespaces_writes_are_not_granted() -> None:
    for one in _granted():
        assert one.resource != "secrets"
        assert "*" not in (one.verb, one.resource, one.group)
        if one.verb == "delete":
            assert one.namespace == "kyma-upgrade"
            assert one.name is not None


def test_every_role_is_bound_to_the_service_account_alone() -> None:
    documents = [one for one in yaml.safe_load_all(_RBAC.read_text()) if one]
    roles = {(one["kind"], one["metadata"].get("namespace")) for one in documents if one["kind"].endswith("Role")}
    bindings = [one for one in documents if one["kind"].endswith("RoleBinding")]

    assert {(one["roleRef"]["kind"], one["metadata"].get("namespace")) for one in bindings} == roles
    for one in bindings:
        assert one["subjects"] == [{"kind": "ServiceAccount", "name": "kyma-upgrade", "namespace": "kyma-upgrade"}]
