"""`python -m region_switch.report reports/<run>…`: write the page again, such as that of a run that was killed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..model.errors import SwitchError
from . import NAME, write


def main() -> int:
    """Write the pages; the exit code is 1 when one of them could not be written."""
    parser = argparse.ArgumentParser(prog="region_switch.report", description="Write the page of a run again.")
    parser.add_argument("run", nargs="+", type=Path, help="the run's folder, such as reports/latest")
    failed = 0
    for folder in parser.parse_args().run:
        try:
            lines = write(folder)
        except OSError as error:
            sys.stderr.write(f"{folder}: found {error.strerror}, expected a run's folder with its journal.jsonl\n")
            failed = 1
        except SwitchError as error:
            sys.stderr.write(f"{error}\n")
            failed = 1
        except ImportError as error:
            sys.stderr.write(f"{error.name}: found none, expected the package: install what requirements.txt names\n")
            failed = 1
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            sys.stderr.write(f"{folder}: found a journal or summary of another shape ({error!r}), expected a run's\n")
            failed = 1
        else:
            sys.stdout.write("".join(f"{line}\n" for line in [*lines, str(folder.resolve() / NAME)]))
    return failed


if __name__ == "__main__":
    sys.exit(main())
