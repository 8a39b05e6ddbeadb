"""Histories of a fleet: commands, faults, crashes and devices in any order, and an end in which all is well again."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from .account import ENDPOINTS, REGIONS
from .events import CLIENT, CLIENTS, EVENTS, MODE
from .world import LANDING_TIMEOUT, At, Command, UntrueError, World

# How often an operator runs the same command until all is well.
PATIENCE = 5
LIMITS = st.builds(
    Command,
    MODE,
    max_clients=st.sampled_from([0, 0, 2, 4]),
    waves=st.sampled_from([(), (), (20,), (50,)]),
    rate=st.sampled_from([100.0, 1.0]),
    restore=st.sampled_from([True, True, False]),
    in_flight=st.sampled_from([0, 0, 1]),
    landing=st.sampled_from([LANDING_TIMEOUT, 60.0]),
)


class Histories(RuleBasedStateMachine):
    """Two controllers, one account."""

    def __init__(self) -> None:
        super().__init__()
        self.world: World | None = None
        self.failed = False
        self.last = Command()
        self.approved: Command | None = None

    @initialize(
        seed=st.integers(0, 1000),
        devices=st.lists(
            st.tuples(st.sampled_from([0.5, 3.0, 28.0, 36.0]), st.booleans(), st.sampled_from(ENDPOINTS)),
            min_size=3, max_size=6,
        ),
        lag=st.sampled_from([0.2, 8.0]),
        index_lag=st.sampled_from([0.0, 0.0, 4.0]),
    )  # fmt: skip
    def begin(self, seed: int, devices: list[tuple[float, bool, str]], lag: float, index_lag: float) -> None:
        self.world = world = World(seed)
        world.account.zone.lag["192.0.2.2"] = lag
        world.account.index_lag = index_lag
        for client, (delay, caches, endpoint) in zip(CLIENTS, devices, strict=False):
            world.account.add(client, endpoint, REGIONS[0], delay=delay, caches=caches)
        world.pass_time(100)

    def carry_out(self, command: Command, events: list[At], controller: str = "first") -> None:
        assert self.world is not None
        try:
            run = self.world.carry_out(command, *(replace(each) for each in events), controller=controller)
        except BaseException:
            self.failed = True
            raise
        if not command.check:
            self.last = command
        elif (token := run.result.get("token")) is not None:
            self.approved = replace(command, check=False, token=token)

    @rule(command=LIMITS, events=EVENTS)
    def move(self, command: Command, events: list[At]) -> None:
        self.carry_out(command, events)

    @rule(events=EVENTS)
    def again(self, events: list[At]) -> None:
        self.carry_out(self.last, events)

    @rule(command=LIMITS, drift=st.sampled_from([0.0, 34.0]))
    def ask(self, command: Command, drift: float) -> None:
        """Check mode: read the plan, take its token."""
        self.carry_out(replace(command, check=True, approval=True, drift=drift), [])

    @precondition(lambda self: self.approved is not None)
    @rule(events=EVENTS)
    def approve(self, events: list[At]) -> None:
        assert self.approved is not None
        self.carry_out(self.approved, events)

    @rule(command=LIMITS)
    def without_approval(self, command: Command) -> None:
        self.carry_out(replace(command, approval=True), [])

    @rule(events=EVENTS)
    def go_back(self, events: list[At]) -> None:
        self.carry_out(Command(rollback=True), events)

    @rule(command=LIMITS)
    def other_controller(self, command: Command) -> None:
        self.carry_out(command, [], "second")

    @rule(number=st.integers(0, len(CLIENTS) - 1))
    def swap(self, number: int) -> None:
        """A device and one of another endpoint are each given the other's; they use it when they connect next."""
        devices = [each for _, each in sorted(self.world.account.devices.items())]
        one = devices[number % len(devices)]
        for two in devices:
            if two.endpoint != one.endpoint:
                one.endpoint, two.endpoint = two.endpoint, one.endpoint
                return

    @rule(client=CLIENT)
    def off(self, client: str) -> None:
        if device := self.world.account.devices.get(client):
            device.switch_off()

    @rule(client=CLIENT, endpoint=st.sampled_from(ENDPOINTS), region=st.sampled_from(REGIONS))
    def comes(self, client: str, endpoint: str, region: str) -> None:
        """A device comes, back or for the first time, perhaps where DNS does not lead."""
        device = self.world.account.devices.get(client)
        if device is None:
            self.world.account.add(client, endpoint, region)
        elif not device.region and not device.on:
            device.on = True
            device.connect(region)

    @rule(seconds=st.sampled_from([5.0, 40.0]))
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    def teardown(self) -> None:
        if self.world is None:
            return
        try:
            if not self.failed:
                self._end_well()
        finally:
            self.world.close()

    def _end_well(self) -> None:
        """Nothing fails any more: the last mode, as often as a patient operator asks for it, puts everybody right."""
        world = self.world
        for device in world.account.devices.values():
            device.delay = 1.0
            device.switch_on()
        world.pass_time(60)
        command = Command(world.runs[-1].command.mode if world.runs else "1")
        said = []
        for _ in range(PATIENCE):
            run = world.carry_out(command)
            said.append(f"{run.outcome} {run.error}")
            if run.outcome in ("moved", "unchanged"):
                break
        if run.outcome not in ("moved", "unchanged"):
            raise UntrueError(f"{command}: {said}")
        if wrong := world.misplaced(world.account.where()):
            raise UntrueError(f"in the end {wrong} are in a wrong region")
