"""The fixtures of the lab tier: what is proven here is the same, for longer."""

from __future__ import annotations

from ..lab.conftest import fleet, lab, stand_in

__all__ = ["fleet", "lab", "stand_in"]
