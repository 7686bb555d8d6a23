import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from jalebi.events import Event
from jalebi.fanout import Direct
from jalebi.hub import Hub
from jalebi.jobs import Progress, State
from jalebi.mailbox import Advance, Lagged, Mailbox
from tests.test_jobs import a_job

RUNNING = a_job(State.RUNNING, attempt=1, seq=2)


def started(number: int = 2) -> Event:
    return Event(number, "started", 0.0, RUNNING)


def logged(seq: int) -> Event:
    return Event(seq, "log", 0.0, replace(RUNNING, seq=seq), {"log": {"line": seq, "level": "info", "message": ""}})


def completed(seq: int) -> Event:
    return Event(seq, "completed", 0.0, replace(RUNNING, seq=seq, state=State.COMPLETED))


async def test_events_come_in_order_to_everyone_who_wants_them() -> None:
    hub = Hub()
    with (
        hub.subscribe("1") as mine,
        hub.subscribe("2") as other,
        hub.subscribe() as all_of_them,
        hub.subscribe(wants=lambda job: job.kind == "mail") as mails,
    ):
        for event in (started(), logged(3), completed(4)):
            hub.publish(event)
        assert [event.seq for event in mine.take()] == [2, 3, 4]
        assert [event.seq for event in all_of_them.take()] == [2, 3, 4]
        assert other.take() == mails.take() == []
    assert hub.readers == 0


async def test_only_the_newest_progress_waits_and_it_names_the_last_event_before_it() -> None:
    hub = Hub()
    hub.publish(started())
    with hub.subscribe("1") as mailbox:
        for done in range(50):
            hub.report(RUNNING, partial(Progress, done=done))
        [first] = await anext(mailbox)
        assert isinstance(first, Advance)
        assert (first.progress.done, first.seq) == (49, 2)
        hub.report(RUNNING, partial(Progress, done=60))
        hub.publish(logged(3))
        batch = await anext(mailbox)
        if len(batch) == 1:
            batch += await anext(mailbox)
        assert [message.seq for message in batch] == [3, 3]
        assert isinstance(batch[-1], Advance)


async def test_no_progress_comes_after_the_terminal_event() -> None:
    hub = Hub()
    hub.publish(started())
    with hub.subscribe("1") as mailbox:
        hub.report(RUNNING, partial(Progress, done=1))
        await anext(mailbox)
        hub.report(RUNNING, partial(Progress, done=2))
        hub.publish(completed(3))
        assert [message.seq for message in await anext(mailbox)] == [3]
        await asyncio.sleep(0)
        assert mailbox.take() == []
        assert hub.progress("1") is None


async def test_no_progress_comes_before_the_start_is_published() -> None:
    hub = Hub()
    with hub.subscribe("1") as mailbox:
        hub.report(RUNNING, partial(Progress, done=1))
        hub._tick()
        assert mailbox.take() == []
        hub.publish(started())
        hub._tick()
        assert [type(message) for message in mailbox.take()] == [Event, Advance]


async def test_a_reader_that_falls_behind_is_cut_off_and_others_are_not() -> None:
    hub = Hub()
    with hub.subscribe("1", room=3) as slow, hub.subscribe("1") as quick:
        for seq in range(2, 7):
            hub.publish(logged(seq))
        with pytest.raises(Lagged):
            await anext(slow)
        assert len(quick.take()) == 5


async def test_a_closed_hub_lets_readers_finish_what_they_have() -> None:
    hub = Hub()
    with hub.subscribe("1") as mailbox:
        hub.publish(started())
        hub.close()
        assert len(await anext(mailbox)) == 1
        with pytest.raises(StopAsyncIteration):
            await anext(mailbox)
    with hub.subscribe() as late, pytest.raises(StopAsyncIteration):
        await anext(late)


async def test_progress_of_many_jobs_is_bounded_in_a_mailbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jalebi.mailbox.PROGRESS_ROOM", 2)
    hub = Hub()
    with hub.subscribe() as mailbox:
        for number in range(5):
            job = replace(RUNNING, id=str(number))
            hub.publish(Event(number, "started", 0.0, job))
            mailbox.take()
            hub.report(job, partial(Progress, done=1))
        hub._tick()
        assert len(mailbox.take()) == 2
        assert hub.losses.dropped == 3


def large(number: int, job: str, size: int) -> Event:
    args = "x" * size  # of its own each time, as read from a row
    return Event(number, "started", 0.0, replace(RUNNING, id=job, args=f"{args}"[:]))


async def test_a_mailbox_is_bounded_in_bytes_but_always_has_room_for_one_event() -> None:
    hub = Hub(most_bytes=10_000)
    with hub.subscribe() as mailbox:
        hub.publish(large(1, "1", 50_000))
        assert len(mailbox.take()) == 1
        hub.publish(large(2, "2", 6_000))
        hub.publish(large(3, "3", 6_000))
        with pytest.raises(Lagged):
            await anext(mailbox)
        assert not mailbox.slow
        mailbox.reopen()
        hub.publish(large(4, "4", 6_000))
        assert [event.job.id for event in mailbox.take()] == ["4"]


async def test_the_events_of_a_running_job_share_its_large_args_and_are_counted_once() -> None:
    hub = Hub(most_bytes=10_000)
    with hub.subscribe() as mailbox:
        for number in range(1, 10):
            hub.publish(large(number, "1", 6_000))
        batch = await anext(mailbox)
        assert len(batch) == 9
        assert len({id(event.job.args) for event in batch}) == 1
    hub.publish(completed(10))
    hub.publish(replace(completed(11), job=replace(large(11, "1", 6_000).job, state=State.COMPLETED)))
    assert not hub._args


async def test_only_a_reader_that_was_busy_sending_is_called_slow() -> None:
    hub = Hub(room=1)
    with hub.subscribe() as idle, hub.subscribe() as busy:
        busy.busy = True
        hub.publish(started(2))
        hub.publish(logged(3))
        assert (idle.slow, busy.slow) == (False, True)
        for mailbox in (idle, busy):
            with pytest.raises(Lagged):
                await anext(mailbox)


class Line:
    """A connection that is written to directly."""

    def __init__(self) -> None:
        self.ready = True
        self.written: list[bytes] = []
        self.left: Callable[[], object] = lambda: None

    def write(self, data: bytes) -> None:
        self.written.append(data)


def _direct(line: Line) -> Direct:
    return Direct(line, "all alike", lambda message: f"{message.seq} ".encode())


async def _listening(box: Mailbox) -> "asyncio.Task[list[Any]]":
    task = asyncio.ensure_future(anext(box))
    await asyncio.sleep(0)
    return task


async def test_a_reader_that_waits_is_written_to_and_one_that_is_full_finds_the_rest_in_its_mailbox() -> None:
    hub, line = Hub(), Line()
    hub.publish(started())
    with hub.subscribe(RUNNING.id, direct=_direct(line)) as box:
        box.take()
        box.told = 2
        waiting = await _listening(box)
        for seq in (3, 4):
            hub.publish(logged(seq))
        await asyncio.sleep(0)
        assert line.written == [b"3 4 "]
        hub.publish(logged(5))
        line.left()  # it is full: what was promised still goes, what comes later waits
        hub.publish(logged(6))
        assert line.written == [b"3 4 ", b"5 "]
        assert [message.seq for message in await waiting] == [6]
        assert box.told == 5
        waiting = await _listening(box)
        hub.publish(logged(7))  # it has come back
        await asyncio.sleep(0)
        assert line.written[-1] == b"7 "
        hub.publish(completed(8))  # an end is for the reader's own task
        assert [message.seq for message in await waiting] == [8]
    assert hub.readers == 0


async def test_a_reader_that_was_told_more_than_is_published_is_not_written_to_before() -> None:
    hub, line = Hub(), Line()
    hub.publish(started())
    with hub.subscribe(RUNNING.id, direct=_direct(line)) as box:
        box.told = 4  # from the store, which is ahead of the hub
        waiting = await _listening(box)
        hub.publish(logged(3))
        assert [message.seq for message in await waiting] == [3]
        assert line.written == []


async def test_a_connection_that_is_not_ready_is_never_written_to() -> None:
    hub, line = Hub(), Line()
    hub.publish(started())
    line.ready = False
    with hub.subscribe(RUNNING.id, direct=_direct(line)) as box:
        waiting = await _listening(box)
        hub.publish(logged(3))
        assert [message.seq for message in await waiting] == [3]
    assert line.written == []
