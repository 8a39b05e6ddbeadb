"""What the classes have in common that answer calls in moto's place."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.aws_api.stand_in import StandIn


class Answers:
    """Comes before moto's class of a service among the bases of ours, and adds the lab's state to it."""

    def __init__(self, stand_in: StandIn) -> None:
        super().__init__()
        self._stand_in = stand_in
