"""A device that answers what it likes, or not at all: nothing but its own row is affected."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab import device, topology

from .conftest import REPOSITORY, StandIn, messages_arrive_only_in, run_playbook, summary, wait_for
from .test_bad_input import with_edge2
from .test_deploy import certificates

LIAR = topology.DEVICES[1]
OWN, OTHER = "client_02", "client_01"
CERTIFICATES = REPOSITORY / "certs"
# On the device: a program in the place of Python, what it answers, and what it was asked.
PLACE = "/var/lib/liar"
PROGRAMS = {
    "answers": f"#!/bin/sh\ncat >> {PLACE}/asked\ncat {PLACE}/answer\n",
    "hangs": f"#!/bin/sh\ncat >> {PLACE}/asked\nexec sleep 3600\n",
}
REGION_NAMES = [str(node.dns_name) for node in topology.REGIONS]
LOOKUP = {"canonical": REGION_NAMES[0], "addresses": [], "error": ""}


def request(common_name: str) -> str:
    """A signing request with a key of the liar's."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    made = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def lies(marker: Path, csr: str, **values: Any) -> dict[str, Any]:
    """An answer to every module, with all that a module's result may make Ansible do."""
    facts: dict[str, Any] = {
        # Python's own way to run a program when it starts.
        "aws_environment": {
            "AWS_ENDPOINT_URL": topology.AWS_API_URL,
            "AWS_ACCESS_KEY_ID": "lab",
            "AWS_SECRET_ACCESS_KEY": "lab",
            "PYTHONWARNINGS": "all:0:antigravity.x:0:0",
            "BROWSER": f"sh -c 'touch {marker}' %s",
        },
        "mqtt_client_ca": str(CERTIFICATES / "ca.key"),
        "mqtt_client_id": OTHER,
        "ansible_python_interpreter": f"{marker}.sh",
    }
    right = {"changed": False, "csr": csr, "python": "3.11", "machine": "x86_64", "releases": []}
    right |= {"connected": True, "status": "connected \x1b[2J", "release": None, "undelivered": 0, "kept": None}
    return {
        **right,
        "lookups": dict.fromkeys(["mqtt1.example.com", "mqtt2.example.com", *REGION_NAMES], LOOKUP),
        "stale": [],
        "ansible_facts": facts,
        "_ansible_facts_cacheable": True,
        "add_host": {"host_name": "localhost", "host_vars": facts, "groups": ["regions"]},
        "add_group": "regions",
        "warnings": ["\x1b[2J"],
        **values,
    }


@pytest.fixture
def liar(fleet: dict[str, str]) -> Iterator[None]:
    """The second device with a program in the place of Python."""
    device.ssh(LIAR, f"mkdir -p {PLACE}")
    yield
    device.ssh(LIAR, f"rm -rf {PLACE}")


def tell(program: str, answer: object = None) -> None:
    for name, content in (("python3", PROGRAMS[program]), ("answer", json.dumps(answer))):
        device.ssh(LIAR, f"cat > {PLACE}/{name} <<'END'\n{content}\nEND\nchmod 0755 {PLACE}/{name}")
    device.ssh(LIAR, f": > {PLACE}/asked")


def asked() -> str:
    """All that the controller sent to it."""
    return device.ssh(LIAR, f"cat {PLACE}/asked")


@pytest.fixture
def configuration(tmp_path: Path) -> dict[str, str]:
    """A configuration of somebody else's, which has none of what makes devices harmless.

    With the project's own the same is proven in tests/soak, and without a lab in tests/modules.
    """
    text = (REPOSITORY / "ansible.cfg").read_text()
    mine = re.sub(r"^(inject_facts_as_vars|action_plugins|gathering) = .*\n", "", text, flags=re.MULTILINE)
    assert text.count("\n") - mine.count("\n") == 3
    paths = r"^(inventory|roles_path|library|module_utils|\w+_plugins|collections_path) = "
    path = tmp_path / "ansible.cfg"
    path.write_text(re.sub(paths, rf"\g<0>{REPOSITORY}/", mine, flags=re.MULTILINE))
    return {"ANSIBLE_CONFIG": str(path), "ANSIBLE_INJECT_FACT_VARS": "True"}


def state() -> dict[str, Any]:
    """What the controller and AWS have of the fleet's identities."""
    files = {path: path for path in CERTIFICATES.rglob("*") if path.is_file()}
    return {
        "files": {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
        "certificates": {
            (node.name, client): certificates(str(node.name), client)
            for node in topology.REGIONS
            for client in (OWN, OTHER)
        },
    }


def other_mode(stand_in: StandIn) -> tuple[str, str]:
    """A mode that moves both clients, and the region that it moves them to."""
    (now,) = wait_for("the client in one region", lambda: stand_in.connected_regions(OTHER))
    old, new = (str(node.name) for node in topology.REGIONS)
    return ("3", new) if now == old else ("1", old)


@pytest.mark.usefixtures("liar")
def test_device_that_lies_is_alone_with_it(stand_in: StandIn, configuration: dict[str, str], tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    edge2 = with_edge2(tmp_path, ansible_python_interpreter=f"{PLACE}/python3")
    before = state()
    tell("answers", lies(marker, (CERTIFICATES / "clients" / f"{OWN}.csr").read_text()))
    mode, region = other_mode(stand_in)
    ca_key = (CERTIFICATES / "ca.key").read_text().splitlines()[1]

    runs = {
        name: run_playbook(*edge2, *name.split(), environment=configuration)
        for name in (
            "setup.yml",
            "playbooks/deploy_clients.yml",
            f"failover.yml -e mode={mode}",
            "playbooks/readiness.yml",
            "playbooks/remove_clients.yml --check",
        )
    }

    assert {name: run.error for name, run in runs.items() if run.returncode} == {}
    assert "devices: 2 right, 0 stale, 0 could not be asked" in runs[f"failover.yml -e mode={mode}"].output
    assert asked().count("ANSIBALLZ") >= 4
    assert ca_key not in asked()
    assert not marker.exists()
    assert "\x1b[2J" not in "".join(run.output for run in runs.values())
    assert state() == before
    assert summary()["outcome"] == "moved"
    wait_for("messages in the new region", lambda: messages_arrive_only_in({OWN: region, OTHER: region}))


@pytest.mark.usefixtures("liar")
def test_device_that_says_that_it_is_another_gets_nothing(configuration: dict[str, str], tmp_path: Path) -> None:
    edge2 = with_edge2(tmp_path, ansible_python_interpreter=f"{PLACE}/python3")
    before = state()
    tell("answers", lies(tmp_path / "ran", request(OTHER)))

    run = run_playbook(*edge2, "setup.yml", environment=configuration)

    assert run.returncode == 2, run.output
    assert run.error == (
        f"edge2: signing request of {OWN}: found common name '{OTHER}', expected '{OWN}': correct the device"
    )
    assert re.search(r"^edge2 .* failed=1 ", run.output, re.MULTILINE)
    assert run.changed == 0
    assert state() == before


@pytest.mark.parametrize(
    ("program", "answer", "reason"),
    [
        (
            "answers",
            {"machine": "/../../../esc/x", "python": "../../3"},
            "an answer that cannot be read: python is '../../3'",
        ),
        ("hangs", {}, "no answer within 3 s"),
    ],
    ids=["paths", "hangs"],
)
@pytest.mark.usefixtures("liar")
def test_device_that_cannot_be_asked_is_named_and_the_others_are_deployed(
    tmp_path: Path, program: str, answer: dict[str, str], reason: str
) -> None:
    limit = 3 if program == "hangs" else 120
    edge2 = with_edge2(tmp_path, ansible_python_interpreter=f"{PLACE}/python3", mqtt_client_identity_time_limit=limit)
    before = state()
    tell(program, lies(tmp_path / "ran", request(OWN), **answer))

    run = run_playbook(*edge2, "playbooks/deploy_clients.yml")

    assert run.returncode == 2, run.output
    assert run.error == f"edge2: could not be asked ({reason}), nothing was changed: check the device"
    assert "ok: [edge1]" in run.output.partition("Install the client and wait until it works]")[2]
    assert state() == before


@pytest.mark.usefixtures("liar")
def test_device_that_hangs_does_not_hold_up_the_move(stand_in: StandIn, tmp_path: Path) -> None:
    edge2 = with_edge2(tmp_path, ansible_python_interpreter=f"{PLACE}/python3")
    tell("hangs")
    mode, region = other_mode(stand_in)
    limits = ["-e", json.dumps({"failover_dns_timeout": 10, "failover_device_time_limit": 15})]

    run = run_playbook(*edge2, "failover.yml", "-e", f"mode={mode}", *limits)

    assert run.returncode == 0, run.output
    assert "devices: 1 right, 0 stale, 1 could not be asked" in run.output
    assert "could not be asked: edge2 (no answer within 15 s)" in run.output
    assert summary()["outcome"] == "moved"
    # Nothing of the controller waits for it any more.
    wait_for("the end of what it was asked", lambda: f"{PLACE}/python3" not in programs())
    wait_for("messages in the new region", lambda: messages_arrive_only_in({OWN: region, OTHER: region}))


def programs() -> str:
    """Command lines of the controller's programs, but for its kept connections."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(each for each in found if each.startswith("ssh "))
