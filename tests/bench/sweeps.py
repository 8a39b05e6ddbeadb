"""Other ways to disconnect a fleet: `python -m tests.bench.sweeps METHOD REGION`.

The environment variable CLIENTS names a file of client IDs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

THREADS = 64


def one_by_one(region: str, client_ids: list[str]) -> None:
    """One call after another, as a loop of the AWS CLI makes them, without its start for each."""
    iot = boto3.client("iot-data", region_name=region)
    for client_id in client_ids:
        _delete(iot, client_id)


def pool(region: str, client_ids: list[str]) -> None:
    """As fast as threads can; what is throttled stays undone."""
    _in_threads(region, client_ids, Config(max_pool_connections=THREADS, retries={"total_max_attempts": 1}))


def pool_with_retries(region: str, client_ids: list[str]) -> None:
    """As fast as threads can, with the retries that boto3 makes by itself."""
    _in_threads(region, client_ids, Config(max_pool_connections=THREADS))


def _in_threads(region: str, client_ids: list[str], config: Config) -> None:
    iot = boto3.client("iot-data", region_name=region, config=config)
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(lambda client_id: _delete(iot, client_id), client_ids))


def _delete(iot: object, client_id: str) -> None:
    try:
        iot.delete_connection(clientId=client_id)  # type: ignore[attr-defined]
    except ClientError as error:
        sys.stdout.write(f"{client_id}: {error.response['Error']['Code']}\n")


METHODS: dict[str, Callable[[str, list[str]], None]] = {
    "loop": one_by_one,
    "pool": pool,
    "pool with retries": pool_with_retries,
}


if __name__ == "__main__":
    METHODS[sys.argv[1]](sys.argv[2], Path(os.environ["CLIENTS"]).read_text(encoding="utf-8").split())
