"""Ask AWS what only an account can show: `make aws-smoke`, or `python -m tests.aws_smoke --help`.

Without credentials it says what it would do and what that costs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import botocore.session
from botocore.exceptions import BotoCoreError, ClientError

from lab import topology
from lab.aws_api.operations import Models

from .recorder import PREFIX, Recorder, differences, load
from .scrub import Scrubber
from .steps import IAM_DOCUMENT, STEPS, World

SERVICES = ("sts", "iot", "iot-data", "acm", "route53", "service-quotas")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, or say what would be run; return 1 where AWS did otherwise than expected, or something is left."""
    options = _parser().parse_args(arguments)
    if options.check is not None:
        return _check(options.check)
    if options.dry_run or not _has_credentials():
        _foretell(options.with_costs)
        return 0
    return _run(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make aws-smoke", description="Ask AWS what only an account can show.")
    parser.add_argument("--region", default="us-east-1", help="where things are made, and removed again")
    parser.add_argument("--other-region", default="ap-northeast-1", help="the second region of a move")
    parser.add_argument(
        "--zone-id", metavar="ID", help="a hosted zone in which batches are tried that AWS has to refuse"
    )
    parser.add_argument(
        "--iam-document", type=Path, default=IAM_DOCUMENT, help="an iam-setup.json of playbooks/iam_policies.yml"
    )
    parser.add_argument(
        "--with-costs", action="store_true", help="also the step that costs: index, ACM, domain configuration"
    )
    parser.add_argument("--domain", help="a name of yours that nothing serves, for the step that costs")
    parser.add_argument(
        "--answers", type=Path, help="a new folder for the scrubbed answers; reports/aws-smoke-<time> otherwise"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done, and what it costs")
    parser.add_argument(
        "--check", type=Path, metavar="FOLDER", help="only compare the answers of a folder with the models"
    )
    return parser


def _has_credentials() -> bool:
    try:
        return boto3.session.Session().get_credentials() is not None
    except BotoCoreError:
        return False


def _foretell(with_costs: bool) -> None:
    _say("No credentials, or --dry-run: nothing is asked of AWS. With credentials (docs/aws.md, 'Ask AWS itself'):")
    for number, step in enumerate(STEPS, 1):
        flag = "" if not step.paid or with_costs else "; only with --with-costs"
        _say(f"{number}. {step.title}\n   costs: {step.cost}{flag}")
    _say(f"Everything made is named {PREFIX}… and removed again; what is left is named.")


def _run(options: argparse.Namespace) -> int:
    started = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder: Path = options.answers or topology.REPOSITORY / "reports" / f"aws-smoke-{started}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        return _failed(f"{folder}: {error.strerror}: name a folder that is not there yet with --answers")
    recorder = Recorder(folder, Scrubber([PREFIX], _words()), _say)
    world = World(recorder, options.region, options.other_region, options.zone_id, options.domain, options.iam_document)
    for number, step in enumerate(STEPS, 1):
        if step.paid and not options.with_costs:
            _say(f"{number}. skipped without --with-costs: {step.title}")
            continue
        _say(f"{number}. {step.title}")
        try:
            step.run(world)
        except (BotoCoreError, ClientError, OSError) as error:
            recorder.failed.append(f"step {number}: found {' '.join(str(error).split())}, expected it to go on")
            _say(f"  OTHERWISE: {recorder.failed[-1]}")
        if number == 1 and recorder.failed:
            break
    return _end(world)


def _end(world: World) -> int:
    recorder = world.recorder
    _say("")
    for line in sorted(set(recorder.unlike)):
        _say(f"other than botocore's model: {line}")
    for line in recorder.failed:
        _say(f"other than expected: {line}")
    for what in world.left:
        _say(f"LEFT OVER: {what}: remove it by hand")
    count = len(list(recorder.folder.glob("*.json")))
    _say(f"{count} scrubbed answers in {recorder.folder}: read them, then copy them to tests/aws_smoke/answers")
    return int(bool(recorder.failed or recorder.unlike or world.left))


def _check(folder: Path) -> int:
    models, code = Models(), 0
    try:
        answers = load(folder)
    except (OSError, ValueError) as error:
        return _failed(str(error))
    for name, answer in answers:
        for line in differences(models, answer):
            code = 1
            _say(f"{name}: {line}")
    _say(f"{len(answers)} answers compared with botocore's models")
    return code


def _words() -> set[str]:
    """The values that the services' models enumerate."""
    session = botocore.session.get_session()
    words: set[str] = set()
    for service in SERVICES:
        model = session.get_service_model(service)
        shapes: list[Any] = [model.shape_for(name) for name in model.shape_names]
        words.update(value for shape in shapes for value in getattr(shape, "enum", ()))
    return words


def _failed(line: str) -> int:
    sys.stderr.write(f"aws-smoke: {line}\n")
    return 1


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
