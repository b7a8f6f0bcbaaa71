"""The controller may do what its code does, and nothing else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubetuner.controller import api
from kubetuner.controller.api import Kind
from tests.chart.helm import NAMESPACE
from tests.chart.releases import of_kind, rendered

pytestmark = pytest.mark.needs("helm")
Right = tuple[str, str, str]
"""API group, resource with its subresource, verb."""
CODE = Path(api.__file__).parent
VERBS = {"list", "get", "create", "patch", "delete"}
FOLLOWED = ("list", "watch")
# Functions that take a kind and call the API server for it.
MAKERS = {"_make": ("create", "get")}
# Asked for by an admission plugin of some clusters, where an owner blocks deletion.
WITHOUT_A_CALL = {("kubetuner.dev", "trainingruns/finalizers", "update")}


def kinds() -> dict[str, Kind]:
    return {name: value for name, value in vars(api).items() if isinstance(value, Kind)}


def right(kind: Kind, verb: str, sub: str = "") -> Right:
    group = kind.group_version.rpartition("/")[0]
    return group, f"{kind.plural}/{sub}" if sub else kind.plural, verb


def called() -> set[Right]:
    """All rights that calls in the code need: `cluster.<verb>(KIND, ...)`, and kinds that a Reflector follows."""
    found: set[Right] = set()
    for file in sorted(CODE.glob("*.py")):
        for call in (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)):
            found |= set(_needed(call))
    return found


def _needed(call: ast.Call) -> Iterator[Right]:
    words = {word.arg: word.value for word in call.keywords}
    name = call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id if isinstance(call.func, ast.Name) else ""
    kind = next((found for node in [words.get("kind"), *call.args] if (found := _kind(node)) is not None), None)
    if kind is None:
        return
    if name in VERBS:
        sub = words.get("sub")
        yield right(kind, name, str(sub.value) if isinstance(sub, ast.Constant) else "")
    elif name in MAKERS:
        yield from (right(kind, verb) for verb in MAKERS[name])
    elif "reflector" in name.lower():
        yield from (right(kind, verb) for verb in FOLLOWED)


def _kind(node: ast.expr | None) -> Kind | None:
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return kinds().get(name)


def granted(name: str, namespace: str | None) -> set[Right]:
    """What the controller's account may do in a namespace; None for the whole cluster."""
    bindings = [
        one["roleRef"]["name"]
        for one in of_kind(name, "ClusterRoleBinding" if namespace is None else "RoleBinding")
        if one["metadata"].get("namespace") == namespace and one["subjects"][0]["name"] == "kubetuner-controller"
    ]
    roles = [
        one
        for one in of_kind(name, "ClusterRole" if namespace is None else "Role")
        if one["metadata"]["name"] in bindings and one["metadata"].get("namespace") == namespace
    ]
    return {
        (group, resource, verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_controller_may_do_what_its_code_does_and_nothing_else() -> None:
    everywhere, at_home = granted("trial", None), granted("trial", NAMESPACE)
    leases = {one for one in called() if one[0] == "coordination.k8s.io"}
    assert at_home == leases
    assert everywhere - WITHOUT_A_CALL == called() - leases


def test_watched_namespaces_get_the_same_rights_there_and_only_there() -> None:
    everywhere = granted("whole", None)
    assert everywhere == {("authentication.k8s.io", "tokenreviews", "create"), ("authorization.k8s.io", "subjectaccessreviews", "create")}
    assert granted("whole", "team-a") == granted("whole", "team-b") == granted("trial", None) - everywhere


def test_without_the_service_nobody_is_asked_about_and_no_run_is_made() -> None:
    lost = granted("trial", None) - granted("no-service", None)
    assert lost == {
        ("authentication.k8s.io", "tokenreviews", "create"),
        ("authorization.k8s.io", "subjectaccessreviews", "create"),
        ("kubetuner.dev", "trainingruns", "create"),
        ("kubetuner.dev", "trainingruns", "patch"),
    }


def test_the_lease_is_the_controller_s_own_alone() -> None:
    [role] = [one for one in of_kind("trial", "Role") if one["metadata"]["name"] == "kubetuner-lease"]
    [named] = [rule for rule in role["rules"] if "resourceNames" in rule]
    assert named["resourceNames"] == ["kubetuner-controller"]
    assert [rule["verbs"] for rule in role["rules"] if rule is not named] == [["create"]]


def test_no_rule_has_a_star_and_none_reads_secrets() -> None:
    rules = [rule for one in rendered("whole") if one["kind"] in ("Role", "ClusterRole") for rule in one["rules"]]
    assert not [rule for rule in rules if "*" in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]} or "secrets" in rule["resources"]]


def test_the_cluster_s_own_roles_take_the_new_kind_in() -> None:
    roles = {one["metadata"]["name"]: one for one in of_kind("trial", "ClusterRole")}
    aggregated = {
        name: {key.rsplit("-", 1)[1] for key in one["metadata"]["labels"] if "aggregate-to" in key} for name, one in roles.items()
    }
    assert aggregated["kubetuner-view"] == {"view", "edit", "admin"}
    assert aggregated["kubetuner-edit"] == {"edit", "admin"}
    assert roles["kubetuner-view"]["rules"][0]["verbs"] == ["get", "list", "watch"]
