"""Playbooks of the repository, run as an operator does, with an inventory copied from inventory/sample."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .conftest import HOSTED_ZONE_ID, REGIONS, REPOSITORY, validation_arn
from .test_setup_modules import write_csr

ANSIBLE = str(Path(sys.executable).parent / "ansible-playbook")
ENDPOINT, DEVICE = "mqtt1.example.com", "device-0001"


@dataclass(frozen=True)
class Run:
    returncode: int
    output: str

    @property
    def errors(self) -> list[str]:
        """The messages of tasks that failed, each once."""
        found = re.findall(
            r'"msg": ("(?:[^"\\]|\\.)*")', "\n".join(re.findall(r"^(?:fatal|failed): .*$", self.output, re.M))
        )
        return list(dict.fromkeys(json.loads(each) for each in found if "One or more items failed" not in each))

    @property
    def changed(self) -> list[str]:
        """What changed: task, host and item, in order."""
        task, found = "", []
        for line in self.output.splitlines():
            if match := re.match(r"(?:TASK|RUNNING HANDLER) \[(.*?)\]", line):
                task = match[1]
            elif match := re.match(r"changed: (\[.*?\](?: => \(item=.*?\))?)", line):
                found.append(f"{task} {match[1]}")
        return sorted(found)


@dataclass(frozen=True)
class Fleet:
    """An inventory, in a folder of its own, and what setting it up writes beside."""

    folder: Path

    @property
    def inventory(self) -> Path:
        return self.folder / "inventory"

    @property
    def certificates(self) -> Path:
        return self.folder / "certs"

    def play(self, playbook: str, *arguments: str) -> Run:
        done = subprocess.run(
            [ANSIBLE, "-i", str(self.inventory), playbook, *arguments], cwd=REPOSITORY, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return Run(done.returncode, done.stdout + done.stderr)

    def files(self) -> dict[str, bytes]:
        """The content of every file that setting up may write."""
        return {str(path): path.read_bytes() for path in sorted(self.certificates.rglob("*")) if path.is_file()}

    def hosts(self) -> Any:
        return yaml.safe_load((self.inventory / "hosts.yml").read_text())

    def write_hosts(self, hosts: Any) -> None:
        (self.inventory / "hosts.yml").write_text(yaml.safe_dump(hosts, sort_keys=False))

    def write_variables(self, **changes: Any) -> None:
        """Write the fleet's variables, the sample's but for these."""
        path = self.inventory / "group_vars" / "all" / "fleet.yml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}, sort_keys=False))


def proofs(region: str) -> dict[str, dict[str, str]]:
    """What a region's host says of the public certificate that the account has for the endpoint."""
    return {"iot_region_validation_certificate_arns": {ENDPOINT: validation_arn(region, ENDPOINT)}}


def make_fleet(folder: Path, resolver: str, regions: Sequence[str] = REGIONS) -> Fleet:
    """An inventory of one endpoint and one device, with this resolver and these regions."""
    fleet = Fleet(folder)
    shutil.copytree(REPOSITORY / "inventory" / "sample", fleet.inventory)
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    device = {"mqtt_client_id": DEVICE, "mqtt_endpoint": ENDPOINT, "mqtt_client_managed": False}
    children = {
        "regions": {"hosts": {region: proofs(region) for region in regions}, "vars": here},
        "edge": {"hosts": {"edge-0001": device}, "vars": here},
    }
    hosts = {"all": {"hosts": {"localhost": here}, "children": children}}
    fleet.write_hosts(hosts)
    fleet.write_variables(
        iot_endpoints=[ENDPOINT],
        failover_modes={str(number): {ENDPOINT: region} for number, region in enumerate(regions, 1)},
        hosted_zone_id=HOSTED_ZONE_ID,
        dns_resolvers=[resolver],
        certs_directory=str(fleet.certificates),
        reports_directory=str(folder / "reports"),
        failover_require_approval=False,
    )
    return fleet


def add_request(fleet: Fleet) -> None:
    """Put the device's signing request where setting up takes it from."""
    clients = fleet.certificates / "clients"
    clients.mkdir(parents=True, mode=0o700, exist_ok=True)
    write_csr(clients, DEVICE)
