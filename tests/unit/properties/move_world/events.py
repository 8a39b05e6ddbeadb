"""What happens in the middle of a run."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from .account import ENDPOINTS, REGIONS, Fault
from .world import MODES, At, Command, Run

CLIENTS = [f"device{number}" for number in range(8)]


@dataclass(frozen=True)
class Kill:
    """SIGKILL."""

    def __call__(self, run: Run) -> None:
        run.world.kill(run)


@dataclass(frozen=True)
class Stop:
    """Ctrl-C."""

    def __call__(self, run: Run) -> None:
        run.world.stop(run)


@dataclass(frozen=True)
class Fails:
    """Requests fail for a time, see `Fault`."""

    kind: str
    operation: str = ""
    region: str = ""
    share: int = 4
    times: int = 1_000_000
    seconds: float = 1000.0

    def __call__(self, run: Run) -> None:
        until = run.world.scheduler.time + self.seconds
        fault = Fault(self.kind, self.operation, self.region, self.share, self.times, until)
        run.world.account.faults.append(fault)


@dataclass(frozen=True)
class Shut:
    """A region's MQTT endpoint is down."""

    region: str
    seconds: float

    def __call__(self, run: Run) -> None:
        run.world.shut(self.region, self.seconds)


@dataclass(frozen=True)
class OwnWay:
    """The controller does not reach MQTT endpoints any more."""

    def __call__(self, run: Run) -> None:
        run.world.own_way[run.controller] = False


@dataclass(frozen=True)
class SetClock:
    """Somebody sets the controller's clock."""

    seconds: float

    def __call__(self, run: Run) -> None:
        run.world.skew[run.controller] += self.seconds


@dataclass(frozen=True)
class Mute:
    """A DNS server does not answer any more."""

    server: str

    def __call__(self, run: Run) -> None:
        run.world.account.zone.mute.add(self.server)


@dataclass(frozen=True)
class Off:
    """A device goes off."""

    client: str

    def __call__(self, run: Run) -> None:
        if device := run.world.account.devices.get(self.client):
            device.switch_off()


@dataclass(frozen=True)
class Drop:
    """A device loses its network and comes back; AWS takes its old connection for alive for a while."""

    client: str
    lingers: float

    def __call__(self, run: Run) -> None:
        if device := run.world.account.devices.get(self.client):
            device.drop(self.lingers)


@dataclass(frozen=True)
class Appears:
    """A new device connects where it should not, or where it should."""

    client: str
    endpoint: str
    region: str
    delay: float = 1.0

    def __call__(self, run: Run) -> None:
        if self.client not in run.world.account.devices:
            run.world.account.add(self.client, self.endpoint, self.region, delay=self.delay)


@dataclass(frozen=True)
class Other:
    """The other controller runs a mode, too."""

    command: Command

    def __call__(self, run: Run) -> None:
        other = next(name for name in run.world.folders if name != run.controller)
        if all(each.controller != other for each in run.world.running):
            run.world.begin(other, self.command, [])


POINTS = [
    *("SearchIndex", "SearchIndex done", "ListResourceRecordSets", "ChangeResourceRecordSets"),
    *("ChangeResourceRecordSets done", "GetChange", "DeleteConnection", "DeleteConnection done", "GetConnection"),
    *("GetConnection done", "journal start", "journal plan", "journal preflight", "journal switch", "journal switched"),
    *("journal insync", "journal dns", "journal sweep", "journal delete_connection", "journal landed"),
    *("journal landing", "journal sweep_again", "journal restore", "journal restored", "journal returned"),
    "journal end",
]  # fmt: skip
MODE = st.sampled_from(sorted(MODES))
CLIENT = st.sampled_from(CLIENTS)
REGION = st.sampled_from(REGIONS)
OPERATIONS = ["SearchIndex", "GetConnection", "DeleteConnection", "ListResourceRecordSets", "ChangeResourceRecordSets"]
READS = ["SearchIndex", "GetConnection", "ListResourceRecordSets", "GetChange", "DescribeEndpoint"]
FAILS = st.one_of(
    st.builds(
        Fails, st.sampled_from(["throttled", "failing", "refused", "silent", "unheard"]),
        st.sampled_from(OPERATIONS), st.sampled_from(["", *REGIONS]), st.sampled_from([1, 2, 4]),
        st.sampled_from([1, 3, 1000]), st.sampled_from([5.0, 60.0, 1000.0]),
    ),
    st.builds(Fails, st.just("silent"), st.just(""), REGION, st.just(4), st.just(1000), st.just(1000.0)),
)  # fmt: skip
FAULT = st.one_of(
    FAILS,
    st.builds(Fails, st.just("unreadable"), st.sampled_from(READS)),
    st.builds(Shut, REGION, st.sampled_from([10.0, 60.0])),
    st.builds(OwnWay),
    st.builds(SetClock, st.sampled_from([-3600.0, 3600.0])),
    st.builds(Mute, st.sampled_from(["192.0.2.2", "192.0.2.53"])),
)
EVENT = st.one_of(
    st.builds(Kill),
    st.builds(Stop),
    FAULT,
    st.builds(Off, CLIENT),
    st.builds(Drop, CLIENT, st.sampled_from([0.0, 30.0])),
    st.builds(Appears, CLIENT, st.sampled_from(ENDPOINTS), REGION),
    st.builds(Other, st.builds(Command, MODE)),
)
# Anything at any point; and more often what lasts for a whole run, and an end while the fleet is read or disconnected.
EVENTS = st.lists(
    st.one_of(
        st.builds(At, st.sampled_from(POINTS), st.integers(1, 6), EVENT),
        st.builds(At, st.sampled_from(["journal start", "journal switched", "journal landed"]), st.just(1), FAULT),
        st.builds(
            At, st.sampled_from(["SearchIndex", "DeleteConnection", "DeleteConnection done", "GetConnection"]),
            st.integers(1, 8), st.one_of(st.builds(Kill), st.builds(Stop)),
        ),
    ),
    max_size=3,
)  # fmt: skip
