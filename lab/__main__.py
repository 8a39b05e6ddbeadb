"""Command line of the lab: `python -m lab install|up|down|status|env|load`."""

from __future__ import annotations

import argparse
import sys
import time

# Make targets that install the Python packages first, and then do the same.
MAKE_TARGETS = {"up": "lab", "down": "lab-down", "status": "lab-status", "env": "venv", "load": "load"}


def main() -> int:
    """Run one command; the exit code is 0 only when it did what it says."""
    parser = argparse.ArgumentParser(prog="python -m lab", description="The rehearsal lab.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser("install", help="fetch what lab and tests take from the internet, and no more (root)")
    commands.add_parser("up", help="bring up what is missing and wait until it is ready (root)")
    commands.add_parser("down", help="leave nothing behind but the cached base system (root)")
    commands.add_parser("status", help="list programs and addresses; exit code 1 when not all run")
    commands.add_parser("env", help="print what points a shell's AWS tools at the lab")
    load = commands.add_parser("load", help="many light MQTT clients in one process")
    load.add_argument("action", choices=("start", "stop", "status"))
    load.add_argument("--clients", type=int, default=1000, help="how many (default: 1000)")
    load.add_argument("--publish-interval", type=float, default=10.0, metavar="SECONDS", help="0 publishes none")
    return _run(parser.parse_args())


def _run(arguments: argparse.Namespace) -> int:
    from lab import lifecycle
    from lab.errors import LabError

    command = arguments.command
    began = time.monotonic()
    try:
        if command == "up":
            lifecycle.up(_say)
            _say(f"up after {time.monotonic() - began:.1f} s; 'make lab-status' lists its parts")
        elif command == "install":
            lifecycle.install(_say)
        elif command == "down":
            lifecycle.down(_say)
        elif command == "status":
            from lab import status

            return status.show()
        elif command == "load":
            return _load(arguments)
        else:
            _print_environment()
    except LabError as error:
        return _fail(str(error))
    except ModuleNotFoundError as error:
        return _fail(f"Python module {error.name}: not found in {sys.executable}; use 'make {MAKE_TARGETS[command]}'")
    except KeyboardInterrupt:
        return _fail("interrupted; run the same command again to go on")
    return 0


def _load(arguments: argparse.Namespace) -> int:
    from lab.load import control

    if arguments.action == "start":
        control.start(arguments.clients, arguments.publish_interval, _say)
    elif arguments.action == "stop":
        control.stop(_say)
    else:
        return control.show(_say)
    return 0


def _print_environment() -> None:
    from lab import topology

    for name, value in topology.aws_environment().items():
        sys.stdout.write(f"export {name}={value}\n")


def _say(line: str) -> None:
    sys.stdout.write(f"lab: {line}\n")
    sys.stdout.flush()


def _fail(line: str) -> int:
    sys.stderr.write(f"lab: {line}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
