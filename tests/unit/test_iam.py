"""The IAM policies of docs/ allow what the product calls, and nothing else."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible.module_utils.region_switch.checks import probe
from iam import PROBE, iam_policy

from lab.aws_api import iam
from tests.imports import IMPORTS, MODULES

REPOSITORY = Path(__file__).parent.parent.parent
ENGINE = REPOSITORY / "module_utils" / "region_switch"
OWN_MODULES = {path.stem for path in (REPOSITORY / "library").glob("*.py")}

# boto3's services, in IAM's words.
IAM_PREFIX = {
    "iot": "iot",
    "iot-data": "iot",
    "route53": "route53",
    "service-quotas": "servicequotas",
    "sts": "sts",
    "acm": "acm",
}

# Needs no permission: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
FREE = {"sts:GetCallerIdentity"}
# What the Service Authorization Reference has no resource type for, or had none until lately: `*` or nothing.
WITHOUT_RESOURCE = {
    *("acm:ListCertificates", "servicequotas:ListServiceQuotas"),
    *(
        "iot:AttachThingPrincipal",
        "iot:CreateCertificateFromCsr",
        "iot:DescribeEndpoint",
        "iot:GetIndexingConfiguration",
    ),
    *("iot:ListAttachedPolicies", "iot:ListCertificates", "iot:ListDomainConfigurations", "iot:ListPolicies"),
    *(
        "iot:ListPrincipalThings",
        "iot:ListThings",
        "iot:RegisterCertificateWithoutCA",
        "iot:UpdateIndexingConfiguration",
    ),
}

# Called only with `state: absent`, which no role says.
REMOVALS = {
    "DeleteCertificate",
    "DeleteDomainConfiguration",
    "DeletePolicy",
    "DeleteThing",
    "DetachPolicy",
    "DetachThingPrincipal",
}


def tasks(playbook: str) -> Iterator[dict[str, Any]]:
    """The tasks of every role of a playbook."""
    for play in yaml.safe_load((REPOSITORY / "playbooks" / playbook).read_text()):
        imports = [task["ansible.builtin.import_role"] for task in play.get("tasks", [])]
        entry_points = [(role["role"], "main") for role in play.get("roles", [])]
        for role, entry_point in [*entry_points, *((each["name"], each["tasks_from"]) for each in imports)]:
            yield from unpacked(yaml.safe_load((REPOSITORY / "roles" / role / f"tasks/{entry_point}.yml").read_text()))


def unpacked(found: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Tasks, also those inside blocks."""
    for task in found:
        yield task
        for part in ("block", "rescue", "always"):
            yield from unpacked(task.get(part, []))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imported(path: Path) -> list[Path]:
    """The files of the engine that a file imports, and the file itself."""
    name = next(name for name, file in MODULES.items() if file == path)
    return [path, *(MODULES[each] for each in IMPORTS[name] if each.startswith("region_switch."))]


@cache
def names(tree: ast.AST) -> set[str]:
    """Every name that a piece of code mentions, also as an attribute."""
    nodes = list(ast.walk(tree))
    return {node.id for node in nodes if isinstance(node, ast.Name)} | {
        node.attr for node in nodes if isinstance(node, ast.Attribute)
    }


@cache
def definitions(path: Path) -> list[tuple[str, ast.AST]]:
    """The functions and classes of a file by their names, and what it calls by a name itself, such as a registry."""
    tree = parsed(path)
    found: list[tuple[str, ast.AST]] = [
        (node.name, node) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)
    ]
    assigned = [
        (node, target)
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    return [*found, *((target.id, node) for node, target in assigned if isinstance(target, ast.Name))]


def mentioned(path: Path, tree: ast.AST) -> set[tuple[Path, ast.AST]]:
    """The functions and classes, each with its file, whose name a piece of code of a file mentions."""
    used = names(tree)
    return {
        (file, node)
        for file in imported(path)
        for name, node in definitions(file)
        if name in used
        # A private name is that of its own file.
        and (file == path or not name.startswith("_"))
    }


# What module failover_inventory_info comes to where it checks for a setup alone.
BEFORE_A_SETUP = {"ownership"}
# What a DNS method is asked before a move alone.
BEFORE_A_MOVE = {"route53_checks"}


def reached(module: str, without: Collection[str] = ()) -> list[ast.AST]:
    """The engine's code that a module can come to: generous, since names are all it goes by.

    Args:
        without: files, by their stems, that it does not come to.
    """
    path = REPOSITORY / "library" / f"{module}.py"
    seen: set[tuple[Path, ast.AST]] = set()
    todo = mentioned(path, parsed(path))
    todo = {found for found in todo if found[0].stem not in without}
    while todo := todo - seen:
        seen |= todo
        todo = {found for file, piece in todo for found in mentioned(file, piece) if found[0].stem not in without}
    return [piece for _, piece in seen]


def operations(code: Iterable[ast.AST]) -> set[str]:
    """The operations in `call("…")`, `find("…")` and `pages("…")`; those of ACM, which shares names with IoT, as
    `acm:…`: its client is called `acm`."""
    return {
        ("acm:" if isinstance(node.func.value, ast.Name) and node.func.value.id == "acm" else "") + node.args[0].value
        for piece in code
        for node in ast.walk(piece)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"call", "find", "pages"}
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }


@cache
def services() -> dict[str, str]:
    """`{operation: IAM action}` of the services the engine talks to, from botocore's models."""
    session = botocore.session.get_session()
    return {
        operation: f"{IAM_PREFIX[service]}:{operation}"
        for service in ("service-quotas", "iot", "iot-data", "route53", "sts")
        for operation in session.get_service_model(service).operation_names
    }


def needed(playbook: str) -> set[str]:
    actions: set[str] = set()
    without = BEFORE_A_MOVE if playbook == "setup.yml" else BEFORE_A_SETUP
    for task in tasks(playbook):
        for module in task:
            if module in OWN_MODULES:
                called = operations(reached(module, without)) - REMOVALS
                actions |= {name if name.startswith("acm:") else services()[name] for name in called}
    return actions


def policy(name: str) -> list[dict[str, Any]]:
    statements: list[dict[str, Any]] = json.loads((REPOSITORY / "docs" / name).read_text())["Statement"]
    return statements


def allowed(name: str) -> set[str]:
    actions = [statement["Action"] for statement in policy(name)]
    return {action for entry in actions for action in ([entry] if isinstance(entry, str) else entry)}


POLICIES = [("setup.yml", "iam-setup.json"), ("failover.yml", "iam-failover.json")]


@pytest.mark.parametrize(("playbook", "name"), POLICIES)
def test_policy_allows_what_the_playbook_calls_and_no_more(playbook: str, name: str) -> None:
    assert allowed(name) == needed(playbook) - FREE


@pytest.mark.parametrize(("_playbook", "name"), POLICIES)
def test_every_resource_stands_where_aws_has_a_type_for_it_and_nowhere_else(_playbook: str, name: str) -> None:
    open_ones = [each["Action"] for each in policy(name) if each["Resource"] == "*"]

    assert {action for actions in open_ones for action in actions} == allowed(name) & WITHOUT_RESOURCE


def test_every_operation_of_the_engine_belongs_to_a_playbook() -> None:
    everything = operations(parsed(path) for path in ENGINE.rglob("*.py"))
    actions = {action for playbook, _ in POLICIES for action in needed(playbook)}
    covered = {action if action.startswith("acm:") else action.partition(":")[2] for action in actions}

    assert everything - covered == REMOVALS


@pytest.mark.parametrize(("playbook", "name"), POLICIES)
def test_no_role_removes_anything(playbook: str, name: str) -> None:
    arguments = [value for task in tasks(playbook) for value in task.values() if isinstance(value, dict)]

    assert not [entry for entry in arguments if "absent" in (entry.get("state"), entry.get("ansible.builtin.state"))]


@pytest.mark.parametrize(("playbook", "name"), POLICIES)
def test_records_of_no_other_name_can_be_changed(playbook: str, name: str) -> None:
    endpoints = yaml.safe_load((REPOSITORY / "inventory/sample/group_vars/all/fleet.yml").read_text())["iot_endpoints"]
    (statement,) = [entry for entry in policy(name) if entry["Action"] == "route53:ChangeResourceRecordSets"]

    assert statement["Condition"]["ForAllValues:StringEquals"] == {
        "route53:ChangeResourceRecordSetsNormalizedRecordNames": endpoints,
        "route53:ChangeResourceRecordSetsRecordTypes": ["CNAME"],
        "route53:ChangeResourceRecordSetsActions": ["CREATE", "DELETE"],
    }


SETTINGS = {
    "account": "210987654321",
    "partition": "aws-cn",
    "hosted_zone_id": "/hostedzone/Z1EXAMPLE",
    "endpoints": ["MQTT.example.net."],
    "clients": [{"client_id": "pump-1", "endpoint": "mqtt.example.net"}, {"client_id": "fan.2", "endpoint": ""}],
    "client_ids": ["pump-*", "fan.?"],
    "device_policy": "pumps",
    "monitor_policy": "watcher",
}


def resources(name: str, **changes: Any) -> list[str]:
    document = json.loads((REPOSITORY / "docs" / name).read_text())
    found = [each["Resource"] for each in iam_policy(document, SETTINGS | changes)["Statement"]]
    return [each for entry in found for each in ([entry] if isinstance(entry, str) else entry)]


@pytest.mark.parametrize(("_playbook", "name"), POLICIES)
def test_policy_is_written_for_the_inventory(_playbook: str, name: str) -> None:
    document = json.loads((REPOSITORY / "docs" / name).read_text())
    made = iam_policy(document, SETTINGS)
    text = json.dumps(made)

    assert [each["Action"] for each in made["Statement"]] == [each["Action"] for each in document["Statement"]]
    for placeholder in ("123456789012", "ZXXXXXXXXXXXXX", "mqtt1.example.com", "arn:aws:", "mqtt-fleet-"):
        assert placeholder not in text
    assert '"route53:ChangeResourceRecordSetsNormalizedRecordNames": ["mqtt.example.net"]' in text
    assert "arn:aws-cn:route53:::hostedzone/Z1EXAMPLE" in resources(name)
    assert ("arn:aws-cn:iot:*:210987654321:policy/pumps" in resources(name)) == (name == "iam-setup.json")


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"account": ""}, "iam_policies_account: found '', expected an account ID of twelve digits"),
        ({"account": "ACCOUNT_ID"}, "iam_policies_account: found 'ACCOUNT_ID'"),
        ({"partition": "arn"}, "iam_policies_partition: found 'arn', expected a partition such as aws"),
        ({"hosted_zone_id": "ZXXXXXXXXXXXXX"}, "iam_policies_hosted_zone_id: found 'ZXXXXXXXXXXXXX', expected the ID"),
        ({"hosted_zone_id": None}, "iam_policies_hosted_zone_id: found 'None'"),
        ({"endpoints": [f"mqtt{number:04}.example.net" for number in range(200)]}, "iam_policies: found a policy of "),
    ],
)
def test_what_is_still_a_placeholder_or_too_long_for_iam_is_refused(changes: dict[str, Any], found: str) -> None:
    with pytest.raises(AnsibleFilterError, match=re.escape(found)):
        resources("iam-failover.json", **changes)


@pytest.mark.parametrize(("_playbook", "name"), POLICIES)
def test_policy_is_one_that_iam_takes(_playbook: str, name: str) -> None:
    made = iam_policy(json.loads((REPOSITORY / "docs" / name).read_text()), SETTINGS)

    iam.check(made)
    assert len("".join(json.dumps(made).split())) < 6144 / 2


@pytest.mark.parametrize(("_playbook", "name"), POLICIES)
def test_things_are_narrowed_to_the_clients_that_are_asked_for(_playbook: str, name: str) -> None:
    prefix = "arn:aws-cn:iot:*:210987654321:thing/"

    assert [each for each in resources(name) if each.startswith(prefix)] == [f"{prefix}pump-*", f"{prefix}fan.?"]


def test_clients_are_narrowed_to_what_is_asked_for_and_the_name_that_a_move_tries() -> None:
    prefix = "arn:aws-cn:iot:*:210987654321:client/"

    narrowed = [each for each in resources("iam-failover.json") if each.startswith(prefix)]

    assert narrowed == [f"{prefix}pump-*", f"{prefix}fan.?", prefix + PROBE]
    assert f"{probe.CLIENT_ID_PREFIX}*" == PROBE
    everybody = [each for each in resources("iam-failover.json", client_ids=["*"]) if each.startswith(prefix)]
    assert everybody == [f"{prefix}*"]


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["pump-*"], "found no pattern for fan.2, expected one for every client"),
        (["pump", "fan*"], "found no pattern for pump-1,"),
        (["PUMP-*", "FAN*"], "found no pattern for pump-1 and 1 more"),
        ([], "found [], expected a list of patterns"),
        ("pump-*", "found 'pump-*', expected a list of patterns"),
        ([1001], "found [1001], expected a list of patterns such as device-*, in quotes"),
    ],
)
def test_patterns_that_leave_out_a_client_are_refused(patterns: object, found: str) -> None:
    with pytest.raises(AnsibleFilterError, match=re.escape(f"iam_policies_client_ids: {found}")):
        resources("iam-failover.json", client_ids=patterns)
