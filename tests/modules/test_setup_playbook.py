"""setup.yml as an operator runs it, against the stand-in: what somebody turned off, and names that are no text."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest

from .conftest import HOSTED_ZONE_ID, REPOSITORY, AwsApi
from .modules import last_request
from .playbooks import proofs
from .test_setup_modules import OTHER, REGION, write_csr
from .zone_server import zone_server

ENDPOINT = "mqtt1.example.com"
NAMES = ("pump-1", "pump-2")
# As YAML has it, so that what it makes of a name is what is tested.
HOSTS = """
all:
  hosts:
    localhost: {ansible_connection: local}
  children:
    regions:
      hosts: REGIONS
      vars: {ansible_connection: local}
    edge:
      vars: {mqtt_client_managed: false, mqtt_endpoint: mqtt1.example.com}
      hosts:
        pump-1: {mqtt_client_id: FIRST}
        pump-2: {}
"""


@dataclass
class Operator:
    """An inventory of two devices with software of their own, and its certificates."""

    folder: Path
    aws_api: AwsApi
    resolver: str

    @property
    def clients(self) -> Path:
        return self.folder / "certs" / "clients"

    def run(
        self, playbook: str = "setup.yml", first: str = "pump-1", **variables: object
    ) -> subprocess.CompletedProcess[str]:
        """Run a playbook; the first device's client ID is written as it is given."""
        hosts, values = self.folder / "hosts.yml", self.folder / "variables.json"
        regions = json.dumps({region: proofs(region) for region in (REGION, OTHER)})
        hosts.write_text(HOSTS.replace("FIRST", first).replace("REGIONS", regions))
        values.write_text(json.dumps(self._variables() | variables))
        program = str(Path(sys.executable).parent / "ansible-playbook")
        return subprocess.run(
            [program, "-i", str(hosts), playbook, "-e", f"@{values}"],
            cwd=REPOSITORY,
            env={**os.environ, "ANSIBLE_LOCAL_TEMP": str(self.folder / "ansible"), "ANSIBLE_FORKS": "2"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def _variables(self) -> dict[str, object]:
        sample = REPOSITORY / "inventory/sample/group_vars/all/fleet.yml"
        clients = next(line for line in sample.read_text().splitlines() if line.startswith("iot_clients:"))
        return {
            "ansible_python_interpreter": sys.executable,
            "aws_environment": {},
            "iot_endpoints": [ENDPOINT],
            "failover_modes": {"1": {ENDPOINT: REGION}, "2": {ENDPOINT: OTHER}},
            "iot_clients": clients.partition(":")[2].strip().strip('"'),
            "fleet_monitor_client_id": "monitor",
            "hosted_zone_id": HOSTED_ZONE_ID,
            "dns_record_ttl": 0,
            "dns_resolvers": [self.resolver],
            "certs_directory": str(self.folder / "certs"),
            "reports_directory": str(self.folder / "reports"),
        }

    def statuses(self) -> dict[tuple[str, str], str]:
        """`{(region, client ID): status}` of what is attached to each thing."""
        found = {}
        for region in (REGION, OTHER):
            iot = boto3.client("iot", region_name=region)
            for name in NAMES:
                (principal,) = iot.list_thing_principals(thingName=name)["principals"]
                described = iot.describe_certificate(certificateId=principal.rpartition("/")[2])
                found[region, name] = described["certificateDescription"]["status"]
        return found

    def set_status(self, region: str, name: str, status: str) -> str:
        iot = boto3.client("iot", region_name=region)
        (principal,) = iot.list_thing_principals(thingName=name)["principals"]
        identifier = str(principal.rpartition("/")[2])
        iot.update_certificate(certificateId=identifier, newStatus=status)
        return identifier


@pytest.fixture
def operator(aws_api: AwsApi, tmp_path: Path) -> Iterator[Operator]:
    with zone_server() as resolver:
        found = Operator(tmp_path, aws_api, resolver)
        found.clients.mkdir(parents=True)
        for name in NAMES:
            write_csr(found.clients, name)
        yield found


def test_what_somebody_turned_off_is_as_before_and_told(operator: Operator) -> None:
    assert (done := operator.run()).returncode == 0, done.stdout + done.stderr
    for region in (REGION, OTHER):
        identifier = operator.set_status(region, "pump-1", "REVOKED")
    operator.set_status(OTHER, "pump-2", "INACTIVE")
    domain = {"domainConfigurationName": "mqtt1-example-com", "domainConfigurationStatus": "DISABLED"}
    boto3.client("iot", region_name=OTHER).update_domain_configuration(**domain)
    before, last = operator.statuses(), last_request(operator.aws_api)

    done = operator.run()

    assert done.returncode == 2
    assert operator.statuses() == before
    assert operator.aws_api.writes(last) == []
    shown = " ".join(done.stdout.split())
    both = f"{REGION} and {OTHER}"
    assert f"pump-1: found certificate {identifier} REVOKED in {both}, expected ACTIVE: left as it is" in shown
    assert f"INACTIVE in {OTHER}, expected ACTIVE" in shown
    assert f"{OTHER}: found domain configuration mqtt1-example-com DISABLED, expected ENABLED: left as it is" in shown


@pytest.mark.parametrize(
    ("first", "variables", "line"),
    [
        ("0123", {}, "host pump-1: mqtt_client_id is the number 83, which YAML makes of some names without quotes"),
        ("pump-1", {"fleet_monitor_client_id": 1001}, "fleet_monitor_client_id is the number 1001, which YAML makes"),
    ],
)
def test_name_that_is_no_text_is_refused_before_anything_is_written(
    operator: Operator, first: str, variables: dict[str, object], line: str
) -> None:
    files = sorted(operator.folder.rglob("*.csr"))
    last = last_request(operator.aws_api)

    done = operator.run(first=first, **variables)

    assert done.returncode == 2
    assert line in " ".join((done.stdout + done.stderr).split())
    assert operator.aws_api.writes(last) == []
    assert sorted(path for path in (operator.folder / "certs").rglob("*") if path.is_file()) == files


def test_iam_policies_are_written_for_the_inventory(operator: Operator) -> None:
    done = operator.run("playbooks/iam_policies.yml", iam_policies_client_ids=["pump-?"])

    assert done.returncode == 0, done.stdout + done.stderr
    policy = json.loads((operator.folder / "reports" / "iam-failover.json").read_text())
    (statement,) = [each for each in policy["Statement"] if "iot:DeleteConnection" in each["Action"]]
    prefix = f"arn:aws:iot:*:{operator.aws_api.account_id}:client/"
    assert statement["Resource"] == [f"{prefix}pump-?", f"{prefix}region-switch-probe-*"]
    assert operator.aws_api.writes() == []
