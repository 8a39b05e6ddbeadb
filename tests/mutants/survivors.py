"""What a run of mutants comes to, beside the survivors that are known. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SURVIVORS_AT_MOST = 0.05

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Verdict:
    """What became of a module's mutants.

    Attributes:
        tested: how many there are, without those that are equivalent.
        unknown: survivors that the list does not have, each as function, old and new text.
        stale: entries of the list whose mutant is gone or killed.
    """

    module: str
    tested: int
    equivalent: int
    survived: int
    unknown: list[Key]
    stale: list[Key]

    @property
    def share(self) -> float:
        """Survivors that are not equivalent, of all mutants that are not."""
        return self.survived / self.tested if self.tested else 0.0

    @property
    def failed(self) -> bool:
        return self.share > SURVIVORS_AT_MOST


def judge(module: str, mutants: Sequence[Mapping[str, Any]], listed: Sequence[Mapping[str, Any]]) -> Verdict:
    """Compare a module's mutants with the survivors that are known.

    Args:
        mutants: `{"where", "old", "new", "outcome"}`; what is not `survived` was noticed.
        listed: `{"module", "where", "old", "new", "reason", "equivalent"}`, of all modules.
    """
    known = {_key(entry): entry.get("equivalent", True) for entry in listed if entry["module"] == module}
    survivors = [_key(mutant) for mutant in mutants if mutant["outcome"] == "survived"]
    equivalent = sum(known.get(key, False) for key in survivors)
    return Verdict(
        module=module,
        tested=len(mutants) - equivalent,
        equivalent=equivalent,
        survived=len(survivors) - equivalent,
        unknown=[key for key in survivors if key not in known],
        stale=[key for key in known if key not in survivors],
    )


def _key(mutant: Mapping[str, Any]) -> Key:
    return mutant["where"], mutant["old"], mutant["new"]
