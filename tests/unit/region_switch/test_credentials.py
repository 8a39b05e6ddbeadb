"""Whatever is wrong with AWS credentials is one line with what to do, before a move and in the middle of one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible.module_utils.region_switch.aws import caller, clients
from ansible.module_utils.region_switch.aws.clients import AwsClient, DataClient
from ansible.module_utils.region_switch.model.errors import AwsError, CredentialsError, SwitchError
from ansible.module_utils.region_switch.model.findings import unanswered

from .fakes import FakeAws

SECRET = "a-secret-of-somebody"
ROLE = "role_arn = arn:aws:iam::123456789012:role/operator"
START = "sso_start_url = https://example.awsapps.com/start"
SSO = f"{START}\nsso_region = us-east-1\nsso_account_id = 123456789012\nsso_role_name = operator"
PROFILES = {
    "mfa": f"{ROLE}\nsource_profile = base\nmfa_serial = arn:aws:iam::123456789012:mfa/operator",
    "base": f"aws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = {SECRET}",
    "missing": "credential_process = /nowhere/get-credentials",
    "text": f"credential_process = /bin/echo {SECRET}",
    "list": f"credential_process = /bin/echo '[\"{SECRET}\"]'",
    "ends": "credential_process = /bin/sh -c 'echo the session is over >&2; exit 3'",
    "nothing": "credential_process =",
    "quote": 'credential_process = "get-credentials',
    "chain": f"{ROLE}\nsource_profile = missing",
    "told": f"{ROLE}\nsource_profile = text",
    "sso": SSO,
    "session": f"sso_session = corp\n{SSO}\n[sso-session corp]\n{START}\nsso_region = us-east-1",
    "login": "login_session = arn:aws:iam::123456789012:user/operator",
    "token": f"{ROLE}\nweb_identity_token_file = /nowhere/token",
    "nosource": f"{ROLE}\nsource_profile = nobody",
    "half": "aws_access_key_id = AKIAIOSFODNN7EXAMPLE",
    "loop": f"{ROLE}\nsource_profile = pool\n[profile pool]\n{ROLE}\nsource_profile = loop",
}
FOUND = {
    "mfa": "a prompt for the code of an MFA device",
    "missing": "/nowhere/get-credentials: No such file or directory",
    "text": "/bin/echo that printed no credentials",
    "list": "/bin/echo that printed no credentials",
    "ends": "the session is over",
    "nothing": "a credential_process that is no command",
    "quote": "a credential_process that is no command",
    "chain": "/nowhere/get-credentials: No such file or directory",
    "told": "credential_process that printed no credentials",
    "sso": "Error loading SSO Token",
    "session": "SSO",
    "login": "login session",
    "token": "/nowhere/token: No such file or directory",
    "nosource": "nobody",
    "half": "aws_secret_access_key",
    "loop": "Infinite loop",
    "absent": "no such profile",
}
ADVICE = {
    "mfa": 'eval "$(aws configure export-credentials --profile mfa --format env)"',
    "sso": "log in (aws sso login --profile sso)",
    "session": "log in (aws sso login --profile session)",
    "login": "log in (aws login --profile login)",
}


@pytest.fixture(autouse=True)
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The AWS configuration of a machine whose environment names no credentials, and whose AWS nobody reaches."""
    path = tmp_path / "config"
    path.write_text("".join(f"[profile {name}]\n{content}\n" for name, content in PROFILES.items()))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HOME", str(tmp_path))
    clients._session.cache_clear()
    yield path
    clients._session.cache_clear()


def line_of(error: SwitchError) -> str:
    assert len(str(error).splitlines()) == 1
    assert "Traceback" not in str(error)
    assert SECRET not in str(error)
    return str(error)


@pytest.mark.parametrize("profile", FOUND)
def test_what_is_wrong_with_a_profile_is_one_line(profile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", profile)

    with pytest.raises(CredentialsError) as refused:
        caller.identify(["us-east-1", "ap-northeast-1"], "a hint about the network")

    line = line_of(refused.value)
    assert line.startswith(f"AWS credentials of profile {profile}: found ")
    assert FOUND[profile] in line
    assert ADVICE.get(profile, "correct the profile") in line
    assert "hint" not in line


def test_no_credentials_at_all_is_said_as_such() -> None:
    with pytest.raises(CredentialsError, match=r"^AWS credentials: found none, expected usable ones: name a profile"):
        AwsClient("iot", "us-east-1").call("DescribeEndpoint")


def test_configuration_that_cannot_be_parsed_is_named(configuration: Path) -> None:
    configuration.write_text("nonsense\n")

    with pytest.raises(CredentialsError, match=f"found Unable to parse config file: {configuration}"):
        AwsClient("iot", "us-east-1")


@pytest.mark.parametrize("operation", ["DescribeEndpoint", "GetConnection"])
def test_credentials_that_cannot_be_renewed_in_mid_run_are_neither_a_dead_region_nor_a_lost_request(
    operation: str, configuration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    # Renewed before each request, as those are whose end is less than 10 minutes away.
    found = {"Version": 1, "AccessKeyId": "ASIA", "SecretAccessKey": "x", "SessionToken": "t"}
    (tmp_path / "found").write_text(json.dumps({**found, "Expiration": "2000-01-01T00:00:00Z"}))
    program = tmp_path / "program.py"
    program.write_text(
        "import datetime, json, pathlib, sys\n"
        f"if pathlib.Path({str(gone)!r}).exists(): print('Please log in.'); sys.exit()\n"
        f"found = json.loads(pathlib.Path({str(tmp_path / 'found')!r}).read_text())\n"
        "end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=300)\n"
        "print(json.dumps({**found, 'Expiration': end.isoformat()}))\n"
    )
    configuration.write_text(f"[profile short]\ncredential_process = {sys.executable} {program}\n")
    monkeypatch.setenv("AWS_PROFILE", "short")
    client = DataClient("us-east-1") if operation == "GetConnection" else AwsClient("iot", "us-east-1", attempts=1)
    parameters = {"clientId": "a"} if operation == "GetConnection" else {}
    with pytest.raises(AwsError) as unreached:
        client.call(operation, **parameters)
    assert unreached.value.temporary

    gone.touch()
    with pytest.raises(CredentialsError) as refused:
        client.call(operation, **parameters)

    assert "that printed no credentials" in line_of(refused.value)
    assert (refused.value.temporary, refused.value.uncertain, refused.value.denied) == (False, False, True)


SAID = {
    "ExpiredToken": "log in again",
    "ExpiredTokenException": "log in again",
    "InvalidClientTokenId": "use valid credentials",
    "UnrecognizedClientException": "use valid credentials",
    "SignatureDoesNotMatch": "check this machine's clock",
    "RequestExpired": "set this machine's clock",
    "MissingAuthenticationToken": "name a profile",
}


@pytest.mark.parametrize("code", SAID)
@pytest.mark.parametrize("status", [400, 403])
def test_what_aws_says_of_credentials_is_no_missing_permission(code: str, status: int) -> None:
    error = AwsError("DescribeEndpoint", "us-east-1", code, status, "the words of AWS")

    assert SAID[code] in line_of(error)
    assert "IAM" not in str(error)
    assert error.denied
    finding = unanswered("region_api", "us-east-1", error)
    assert finding.check == "region_api"
    assert SAID[code] in finding.advice


def test_credentials_that_every_region_refuses_are_said_once() -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AwsError("GetCallerIdentity", "us-east-1", "ExpiredToken", 403, "The token is expired")

    with pytest.raises(AwsError) as refused:
        caller.identify(["us-east-1", "ap-northeast-1"], "a hint", lambda _: FakeAws(refuse))

    assert str(refused.value).count("ExpiredToken") == 1
    assert "log in again" in str(refused.value)


def test_checks_end_with_credentials_that_cannot_be_had() -> None:
    error = CredentialsError("", "none", "log in")

    with pytest.raises(CredentialsError):
        unanswered("permission", "us-east-1", error)
