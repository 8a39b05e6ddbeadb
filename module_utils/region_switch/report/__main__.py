"""`python -m region_switch.report reports/<run>…`: write the pages of runs again, such as of one that was killed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..model.errors import SwitchError
from . import NAME, write


def main() -> int:
    """Write the pages; the exit code is 1 if one of them could not be written."""
    parser = argparse.ArgumentParser(prog="region_switch.report", description="Write report.html of runs again.")
    parser.add_argument("run", nargs="+", type=Path, help="a run's folder, such as reports/latest")
    failed = 0
    for folder in parser.parse_args().run:
        try:
            lines = write(folder)
        except OSError as error:
            problem = f"{folder}: {error.strerror}: name the folder of a run, which has a journal.jsonl"
        except SwitchError as error:
            problem = str(error)
        except ImportError as error:
            problem = f"the package {error.name} is missing: install the packages of requirements.txt"
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            problem = f"{folder}: unknown journal or summary format ({error!r}): use the release that wrote it"
        else:
            sys.stdout.write("".join(f"{line}\n" for line in [*lines, str(folder.resolve() / NAME)]))
            continue
        sys.stderr.write(f"{problem}\n")
        failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
