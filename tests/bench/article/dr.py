"""The article's switcher: `python dr.py mode=3` upserts each record, then disconnects every client in both regions.

One call after another, with boto3 as it comes. Nothing is read first, waited for or looked at afterwards. Of the
environment it reads what the article has in its constants: HOSTED_ZONE_ID, REGION_ENDPOINTS (JSON: region to host name)
and CLIENTS (a file of client IDs, one per line).
"""

import json
import os
import sys
from pathlib import Path

import boto3
from botocore.exceptions import ClientError

DOMAIN = "example.com"
REGIONS = ["us-east-1", "ap-northeast-1"]
DR_PATTERN = [
    {"mqtt1": "us-east-1", "mqtt2": "us-east-1"},
    {"mqtt1": "us-east-1", "mqtt2": "ap-northeast-1"},
    {"mqtt1": "ap-northeast-1", "mqtt2": "ap-northeast-1"},
    {"mqtt1": "ap-northeast-1", "mqtt2": "us-east-1"},
]


def update_records(pattern: dict[str, str]) -> None:
    """Point each name at its region: one UPSERT, and one call, per record."""
    hosts = json.loads(os.environ["REGION_ENDPOINTS"])
    route53 = boto3.client("route53")
    for name, region in pattern.items():
        record = {
            "Name": f"{name}.{DOMAIN}",
            "Type": "CNAME",
            "TTL": 0,
            "ResourceRecords": [{"Value": hosts[region]}],
        }
        route53.change_resource_record_sets(
            HostedZoneId=os.environ["HOSTED_ZONE_ID"],
            ChangeBatch={"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record}]},
        )


def disconnect_all(client_ids: list[str]) -> None:
    """Disconnect every client in every region, wherever it is."""
    for region in REGIONS:
        iot = boto3.client("iot-data", region_name=region)
        for client_id in client_ids:
            try:
                iot.delete_connection(clientId=client_id)
            except ClientError as error:
                sys.stdout.write(f"{region}: {client_id}: {error.response['Error']['Code']}\n")


def main() -> None:
    mode = int(sys.argv[1].removeprefix("mode="))
    update_records(DR_PATTERN[mode - 1])
    disconnect_all(Path(os.environ["CLIENTS"]).read_text(encoding="utf-8").split())


if __name__ == "__main__":
    main()
