"""What is known of a job's process that died or was killed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from jalebi import Jalebi
from jalebi.jobs import Job, State
from jalebi.queue import Order
from jalebi.runner import process, procfs
from jalebi.runner.lastwords import LastWords
from jalebi.web.openapi.schemas import SCHEMAS
from tests.support import eventually, finished, opened, reached
from tests.targets import kinds


@pytest.fixture
async def shop() -> AsyncIterator[Jalebi]:
    async with opened(kinds.make_shop(database_url="sqlite://", cancel_grace=0.4)) as made:
        yield made


async def words_of(shop: Jalebi, job: Job) -> dict[str, Any]:
    over = await finished(shop, job)
    assert over.state is State.FAILED
    assert over.error is not None
    words: dict[str, Any] = over.error["last_words"]
    jsonschema.validate(words, {**SCHEMAS["LastWords"], "components": {"schemas": SCHEMAS}})
    return words


async def last_words(shop: Jalebi, how: str, timeout: float | None = None, **args: Any) -> dict[str, Any]:
    rooms = await shop.open()
    return await words_of(shop, await rooms.queue.submit(Order("perish", {"how": how, **args}, timeout=timeout)))


async def test_a_crash_leaves_the_signal_and_the_stack(shop: Jalebi) -> None:
    words = await last_words(shop, "segfault")
    assert (words["exit_code"], words["signal"]) == (None, "SIGSEGV")
    assert words["stack"].startswith("Fatal Python error: Segmentation fault")
    assert "in perish" in words["stack"]


async def test_an_exit_leaves_its_code_and_the_last_ten_lines(shop: Jalebi) -> None:
    words = await last_words(shop, "fifteen lines")
    assert (words["exit_code"], words["signal"], words["stack"]) == (3, None, None)
    assert words["log"][:-1] == [f"line {number}" for number in range(5, 14)]
    assert len(words["log"][-1]) == 1001


async def test_a_job_that_holds_the_interpreter_in_c_leaves_the_stack_of_where_it_hung(shop: Jalebi) -> None:
    words = await last_words(shop, "hold the GIL", timeout=0.3)
    assert words["signal"] == "SIGKILL"
    assert "in grind" in words["stack"]


async def test_a_process_that_is_stopped_is_killed_without_a_word(shop: Jalebi) -> None:
    words = await last_words(shop, "stop", timeout=0.2)
    assert (words["signal"], words["stack"]) == ("SIGKILL", None)


async def test_a_job_that_ends_at_its_timeout_leaves_the_stack_of_where_it_was(shop: Jalebi) -> None:
    words = await last_words(shop, "nap", timeout=0.2)
    assert (words["exit_code"], words["signal"]) == (None, None)
    assert "in nap" in words["stack"]
    following = await last_words(shop, "fifteen lines")
    assert following["stack"] is None  # what an earlier job left is not this one's


async def test_memory_and_cpu_are_those_of_the_attempt(
    shop: Jalebi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "LOOK_EVERY", 0.01)
    words = await last_words(shop, "fat", timeout=0.5, path=str(tmp_path / "held"))
    assert words["peak_memory"] > 96 << 20
    assert 0 <= words["cpu_seconds"] < 5


async def test_the_peak_of_an_earlier_job_does_not_count(shop: Jalebi) -> None:
    rooms = await shop.open()
    await finished(shop, await shop.submit("misbehave", how="big"))
    assert shop._worker is not None
    [child] = shop._worker._children._all
    pid = child.process.pid
    before = procfs.peak_memory(pid)
    child.words.begin(pid)
    after = child.words.document(0)["peak_memory"]
    assert before is not None
    assert after <= before
    assert child.words.document(0)["cpu_seconds"] < 0.5
    assert rooms.queue.workers == 1


async def test_a_copy_of_the_process_that_crashes_leaves_nothing_in_its_name(shop: Jalebi) -> None:
    words = await last_words(shop, "crash a copy")
    assert (words["exit_code"], words["stack"]) == (4, None)


async def test_a_cancelled_job_whose_process_is_killed_has_no_error(shop: Jalebi) -> None:
    rooms = await shop.open()
    job = await shop.submit("perish", how="hold the GIL")
    await reached(shop, job, State.RUNNING)
    await rooms.queue.cancel(job.id)
    over = await finished(shop, job)
    assert (over.state, over.error) == (State.CANCELLED, None)


async def test_a_death_is_noticed_though_something_holds_the_pipe_open(
    shop: Jalebi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "LOOK_EVERY", 0.01)
    words = await last_words(shop, "leave a copy in C")
    assert words["exit_code"] == 5


async def test_a_stack_that_never_comes_is_waited_for_briefly() -> None:
    words = LastWords()
    try:
        asked: list[int] = []
        async with asyncio.timeout(20):
            await words.ask(asked.append)
        assert len(asked) == 1
        assert words.document(None)["stack"] is None
    finally:
        words.close()
    assert words.descriptors == ()


async def test_nothing_is_left_open_when_processes_are_replaced(shop: Jalebi) -> None:
    for _ in range(3):
        await last_words(shop, "fifteen lines")
    assert shop._worker is not None
    children = shop._worker._children

    async def settled() -> bool | None:
        return True if not children._all else None

    await eventually(settled)
    assert not [path for path in Path("/proc/self/fd").iterdir() if "jalebi-last-words" in str(path.resolve())]
