"""How much is in flight, whether it moves, and at what rate: by numbers alone."""

from __future__ import annotations

import socket

from mqtt_fleet.flight import FEWEST_BYTES, FIRST_BYTES, MOST_BYTES, ByteWindow, Progress
from mqtt_fleet.pace import LOWEST_RATE, Pace, Throttle
from mqtt_fleet.traffic import Traffic, traffic


def test_one_message_always_has_room_and_others_by_their_bytes() -> None:
    room = ByteWindow()
    assert room.has_room(1 << 20)
    room.sent(1 << 20)
    assert not room.has_room(1)
    room.clear()
    room.sent(FIRST_BYTES - 10)
    assert room.has_room(10)
    assert not room.has_room(11)


def test_fast_answers_make_room_and_slow_ones_take_it() -> None:
    room = ByteWindow()
    for _ in range(2000):
        room.sent(100_000)
        room.answered(100_000, seconds=0.1)
    room.sent(1)
    assert room.has_room(MOST_BYTES - 1)
    assert not room.has_room(MOST_BYTES)
    for _ in range(20):
        room.sent(1)
        room.answered(1, seconds=20.0)
    assert room.has_room(FEWEST_BYTES - 1)
    assert not room.has_room(FEWEST_BYTES)


def test_bytes_that_arrive_are_progress_until_the_message_has_arrived() -> None:
    progress = Progress()
    end = progress.sent(100_000, Traffic(5000, 0), 10.0, first=True)
    for second in range(11, 40):
        progress.look(end, Traffic(5000 + 3000 * (second - 10), 50_000), float(second))
        assert progress.since == second
    assert not progress.arrived(end)
    progress.look(end, Traffic(5000 + 100_000 + 20, 0), 50.0)
    assert progress.arrived(end)
    # What else goes over the connection, such as PINGREQs, is none of it.
    progress.look(end, Traffic(500_000, 0), 60.0)
    assert progress.since == 50.0


def test_nothing_that_moves_is_no_progress_and_neither_is_a_ping() -> None:
    progress = Progress()
    end = progress.sent(100_000, Traffic(0, 0), 10.0, first=True)
    progress.look(end, Traffic(0, 80_000), 20.0)
    progress.look(end, Traffic(31, 80_000), 30.0)
    progress.look(end, None, 35.0)
    assert progress.since == 10.0


def test_message_behind_others_ends_behind_what_is_queued() -> None:
    progress = Progress()
    first = progress.sent(50_000, Traffic(1000, 0), 0.0, first=True)
    second = progress.sent(50_000, Traffic(1000, 50_100), 0.0, first=False)
    assert second > first + 50_000
    progress.look(first, Traffic(first, 50_000), 10.0)
    assert progress.arrived(first)
    assert not progress.arrived(second)
    progress.next_oldest(12.0)
    assert progress.since == 12.0


def test_kernel_tells_what_has_arrived_and_what_waits() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as near:
        far, _ = listener.accept()
        with far:
            begin = traffic(near)
            near.sendall(b"x" * 1000)
            far.recv(1000)
            end = traffic(near)
            assert begin is not None
            assert end is not None
            assert end.acked - begin.acked == 1000
            near.setblocking(False)
            near.send(b"x" * (16 << 20))
            full = traffic(near)
            assert full is not None
            assert full.queued > 0
    assert traffic(near) is None


def test_rate_falls_to_what_is_accepted_and_rises_when_nothing_is_refused() -> None:
    throttle = Throttle(100.0, 0.0)
    rates = []
    for second in range(1, 60):
        for _ in range(5):
            throttle.accepted()
        if throttle.rate > 5:
            throttle.refused(second - 0.5)
        throttle.turn(float(second))
        rates.append(throttle.rate)
    assert rates[:4] == [50.0, 25.0, 12.5, 6.25]
    assert all(4.5 <= rate <= 9.5 for rate in rates[5:])
    throttle.turn(200.0)
    assert throttle.rate == 100.0


def test_rate_never_reaches_nothing() -> None:
    throttle = Throttle(100.0, 0.0)
    for second in range(1, 100):
        throttle.refused(second - 0.5)
        throttle.turn(float(second))
    assert throttle.rate == LOWEST_RATE


def test_pace_that_is_lowered_gives_no_more_at_once_than_the_new_one() -> None:
    pace = Pace(1000.0, 0.0)
    assert pace.allowed(0.0) == 100
    pace.change(1.0, 0.0)
    assert pace.allowed(0.0) == 1
    pace.take()
    assert pace.allowed(0.9) == 0
    assert pace.allowed(1.0) == 1
