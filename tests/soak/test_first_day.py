"""A stranger's first day: what README says of a fleet of one's own, to the letter, on a fresh copy of the project.

The inventory is a copy of `inventory/sample` with other names, regions' order and client IDs; AWS, DNS and devices are
the lab's. The time of each step is in the test's output.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import pytest
import yaml

from lab import topology
from lab.drill import last_error, recap

from ..lab.conftest import StandIn, wait_for

REPOSITORY = topology.REPOSITORY
PRODUCTION = "-i inventory/production"
NORTH, SOUTH = "north.example.com", "south.example.com"
HOSTS = {"edge-0001": "pump-17", "edge-0002": "pump-42"}
# What a user fills in, file by file, as the sample has it and as it becomes.
FILLED_IN = {
    "hosts.yml": {
        "192.0.2.11": str(topology.DEVICES[0].address),
        "192.0.2.12": str(topology.DEVICES[1].address),
        "device-0001": "pump-17",
        "device-0002": "pump-42",
        "mqtt1.example.com": NORTH,
        "mqtt2.example.com": SOUTH,
        "ansible_user: admin": "ansible_user: root",
    },
    "group_vars/all/fleet.yml": {
        "mqtt1.example.com": NORTH,
        "mqtt2.example.com": SOUTH,
        '  "1":': "  home:",
        '  "2":': "  split:",
        '  "3":': "  away:",
        '  "4":': "  crossed:",
        "ZXXXXXXXXXXXXX": topology.HOSTED_ZONE_ID,
        "dns_resolvers: []": f"dns_resolvers: ['{topology.RESOLVER.address}']",
        # As README's step 7 says of a fleet without a monitor.
        "failover_ledger: /var/lib/fleet-monitor/ledger.sqlite": "failover_ledger: ''",
    },
}


@dataclass
class Stranger:
    """Somebody with a clone of the project, credentials and README."""

    folder: Path
    environment: Mapping[str, str]
    readme: str
    times: list[tuple[str, float]] = field(default_factory=list)

    def follow(self, command: str, *more: str) -> str:
        """Type a command that README has, word for word; return what it says.

        Args:
            more: what README says to put beside it.
        """
        assert command in self.readme, f"README does not say: {command}"
        words = command.split()
        words[0] = str(Path(sys.executable).parent / words[0])
        began = time.monotonic()
        done = subprocess.run(
            [*words, *more], cwd=self.folder, env={**self.environment}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        self.times.append((" ".join([command, *more]), time.monotonic() - began))
        assert done.returncode == 0, f"{command}: {last_error(done.stdout)}\n{done.stdout}"
        return done.stdout

    def move(self, mode: str) -> dict[str, object]:
        """Read the plan and carry it out, as steps 8 and 9 say; return the summary."""
        plan = "failover.yml -e mode=3" if mode == "away" else "failover.yml -e mode=1"
        command = f"ansible-playbook {PRODUCTION} {plan} --check --diff"
        assert command in self.readme
        said = self.type(command.replace(plan, f"failover.yml -e mode={mode}"))
        (token,) = re.findall(r"token: ([\w-]+)", said)
        self.type(f"ansible-playbook {PRODUCTION} failover.yml -e mode={mode} -e approve={token}")
        found: dict[str, object] = json.loads((self.folder / "reports" / "latest" / "summary.json").read_text())
        return found

    def type(self, command: str) -> str:
        """As `follow`, for a command in which a name of the user's own takes the place of README's."""
        return Stranger(self.folder, self.environment, command, self.times).follow(command)


def public_certificate(region: str, name: str) -> str:
    """Have ACM issue a certificate, proven in the hosted zone, as one does in the console; return its ARN."""
    keys = {"endpoint_url": topology.AWS_API_URL, "region_name": region,
            "aws_access_key_id": topology.ACCESS_KEY, "aws_secret_access_key": topology.SECRET_KEY}  # fmt: skip
    acm, route53 = boto3.client("acm", **keys), boto3.client("route53", **keys)
    arn: str = acm.request_certificate(DomainName=name, ValidationMethod="DNS")["CertificateArn"]
    (option,) = acm.describe_certificate(CertificateArn=arn)["Certificate"]["DomainValidationOptions"]
    record = option["ResourceRecord"]
    proof = {"Name": record["Name"], "Type": record["Type"], "TTL": 60, "ResourceRecords": [{"Value": record["Value"]}]}
    route53.change_resource_record_sets(
        HostedZoneId=topology.HOSTED_ZONE_ID,
        ChangeBatch={"Changes": [{"Action": "UPSERT", "ResourceRecordSet": proof}]},
    )
    wait_for(
        f"a certificate for {name} in {region}",
        lambda: acm.describe_certificate(CertificateArn=arn)["Certificate"]["Status"] == "ISSUED",
    )
    return arn


@pytest.fixture
def stranger(lab: None, tmp_path: Path) -> Stranger:
    """A fresh copy of the project, with what git would clone, and the sample filled in."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    folder = tmp_path / "mqtt-region-switch"
    for name in filter(None, names):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    # As the rehearsal of step 1 leaves it: the clients' packages.
    (folder / ".cache").symlink_to(topology.cache_directory())
    shutil.copytree(folder / "inventory" / "sample", folder / "inventory" / "production")
    for name, changes in FILLED_IN.items():
        path = folder / "inventory" / "production" / name
        text = path.read_text()
        for before, after in changes.items():
            assert before in text, f"{name}: {before} is not there to be filled in"
            text = text.replace(before, after)
        path.write_text(text)
    for region in topology.REGIONS:
        proofs = {name: public_certificate(region.name, name) for name in (NORTH, SOUTH)}
        variables = {"iot_region_validation_certificate_arns": proofs}
        path = folder / "inventory" / "production" / "host_vars" / f"{region.name}.yml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(variables))
    ssh = topology.state_directory() / "ssh"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "ANSIBLE_"))},
        **{name: os.environ[name] for name in ("ANSIBLE_SSH_CONTROL_PATH_DIR",) if name in os.environ},
        **topology.aws_environment(),
        "ANSIBLE_PRIVATE_KEY_FILE": str(ssh / "id_ed25519"),
        "ANSIBLE_SSH_COMMON_ARGS": f"-o UserKnownHostsFile={ssh / 'known_hosts'} -o StrictHostKeyChecking=yes",
    }
    return Stranger(folder, environment, " ".join((folder / "README.md").read_text().split()))


@pytest.mark.timeout(1800)
def test_readme_leads_from_a_clone_to_a_proven_move_and_back(stranger: Stranger, stand_in: StandIn) -> None:
    stranger.follow(f"ansible-playbook {PRODUCTION} playbooks/iam_policies.yml")
    policies = [json.loads(path.read_text()) for path in (stranger.folder / "reports").rglob("iam-*.json")]
    assert len(policies) == 2
    with stand_in.allowed(*policies):
        setup = f"ansible-playbook {PRODUCTION} setup.yml"
        stranger.follow(f"{setup} --check")
        stranger.follow(setup)
        stranger.follow(f"ansible-playbook {PRODUCTION} playbooks/deploy_clients.yml")
        stranger.follow(f"ansible-playbook {PRODUCTION} playbooks/readiness.yml")
        there = stranger.move("away")
        back = stranger.move("home")
        again = stranger.follow(setup)

    for summary in (there, back):
        clients = summary["clients"]
        assert isinstance(clients, dict)
        assert (summary["outcome"], clients["landed"], clients["total"]) == ("moved", 2, 2)
    changed = re.findall(r"changed=(\d+)", recap(again))
    assert changed == ["0"] * len(changed)
    for command, seconds in stranger.times:
        sys.stdout.write(f"{seconds:6.1f} s  {command}\n")
