"""The AWS API stand-in as the lab itself uses it: its faults and settings, and AWS calls through boto3."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import boto3
from botocore.config import Config

from lab import topology
from lab.errors import LabError

TIMEOUT = 10.0


def ask(path: str, content: object = None, method: str = "GET") -> Any:
    """Make a request of the stand-in's own interface, under `/_lab/`, and return its answer.

    Raises:
        LabError: it does not answer, or refuses.
    """
    url = f"{topology.AWS_API_URL}/_lab/{path}"
    data = None if content is None else json.dumps(content).encode()
    # The controller may be behind a proxy that does not know the lab's addresses.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(urllib.request.Request(url, data, method=method), timeout=TIMEOUT) as answer:  # noqa: S310
            return json.load(answer)
    except OSError as error:
        raise LabError(f"{method} {url}: {error}; 'make lab-status' shows whether the lab is up") from error


def set_faults(*faults: dict[str, Any]) -> None:
    """Put these faults in force and no others; `lab.aws_api.faults.Fault` describes them."""
    ask("faults", list(faults), "PUT")


def set_settings(**settings: Any) -> None:
    """Change settings; `lab.aws_api.stand_in.Settings` describes them."""
    ask("settings", settings, "PUT")


def last_request() -> int:
    """Number of the newest AWS call; 0 where there was none."""
    return int(max((call["n"] for call in ask("requests")), default=0))


def writes_since(number: int) -> list[str]:
    """The operations that changed something since a call's number, in order; what was refused is not among them."""
    calls = ask(f"requests?after={number}")
    return [call["operation"] for call in calls if call["write"] and call["status"] < 400]


def client(service: str, region: str, config: Config | None = None) -> Any:
    """Return boto3's client of a service in a region of the lab."""
    session = boto3.session.Session(topology.ACCESS_KEY, topology.SECRET_KEY, region_name=region)
    return session.client(service, endpoint_url=topology.AWS_API_URL, config=config)
