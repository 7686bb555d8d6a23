"""What bounds a job's process: memory, CPU, files, descriptors, environment; and that nothing of it is left behind."""

import json
import os
import resource
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest

from jalebi import Jalebi
from jalebi.jobs import Job, State
from jalebi.runner import handle, process
from jalebi.runner.limits import EXPENDABLE, Limits
from jalebi.runner.process import Children
from jalebi.settings import Settings
from tests.support import eventually, finished, opened
from tests.targets import kinds
from tests.webhooks.receiver import SECRET

GIB = 1 << 30


async def ended(shop: Jalebi, kind: str, **args: Any) -> Job:
    return await finished(shop, await shop.submit(kind, args))


async def result(shop: Jalebi, kind: str, **args: Any) -> Any:
    job = await ended(shop, kind, **args)
    assert job.state is State.COMPLETED, job.error
    rooms = await shop.open()
    return json.loads(await rooms.queue.result(job.id) or "null")


async def failure(shop: Jalebi, how: str, path: str = "") -> tuple[str, str]:
    job = await ended(shop, "perish", how=how, path=path)
    assert job.state is State.FAILED
    assert job.error is not None
    return job.error["type"], job.error["message"]


@pytest.fixture
async def shop() -> AsyncIterator[Jalebi]:
    async with opened(kinds.make_shop(database_url="sqlite://", cancel_grace=0.4)) as made:
        yield made


def test_limits_are_settings_and_lists_are_comma_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Limits.of(Settings()) == Limits()
    for name, value in {"MEMORY": str(GIB), "CPU": "1.5", "FILE_SIZE": "4096", "ENV": "AWS_REGION, DSN"}.items():
        monkeypatch.setenv(f"JALEBI_JOB_{name}", value)
    monkeypatch.setenv("JALEBI_ORIGINS", "https://a.example,https://b.example")
    assert Limits.of(Settings()) == Limits(GIB, 1.5, 4096, ("AWS_REGION", "DSN"))
    assert Settings().origins == ("https://a.example", "https://b.example")
    assert Settings(job_env=()).job_env == ()


def test_an_environment_is_scrubbed_of_what_is_the_servers() -> None:
    needed = {"PATH": "3", "LC_ALL": "4", "PYTHONPATH": "6"}
    given = {"JALEBI_TOKEN": "1", "jalebi_webhook_secret": "2", "DSN": "5", **needed}
    assert Limits().environment(given) == {"DSN": "5", **needed}
    assert Limits(variables=()).environment(given) == needed
    assert "DSN" in Limits(variables=("DSN", "JALEBI_TOKEN")).environment(given)
    assert "JALEBI_TOKEN" not in Limits(variables=("DSN", "JALEBI_TOKEN")).environment(given)


async def test_a_job_sees_no_secrets_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JALEBI_TOKEN", "sesame")
    monkeypatch.setenv("jalebi_webhook_secret", SECRET)
    monkeypatch.setenv("OPEN_SESAME", "yes")
    async with opened(kinds.make_shop(database_url="sqlite://")) as shop:
        environment = (await result(shop, "look_around"))["environment"]
    assert not {"sesame", SECRET} & set(environment.values())
    assert environment["OPEN_SESAME"] == "yes"


async def test_a_job_sees_the_variables_that_it_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPEN_SESAME", "yes")
    monkeypatch.setenv("REGION", "north")
    async with opened(kinds.make_shop(database_url="sqlite://", job_env="REGION")) as shop:
        environment = (await result(shop, "look_around"))["environment"]
    assert "OPEN_SESAME" not in environment
    assert environment["REGION"] == "north"
    assert environment["PATH"] == os.environ["PATH"]


async def test_a_job_has_only_the_descriptors_that_are_its_own_and_passes_none_on(shop: Jalebi) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(reading, True)
    try:
        seen = await result(shop, "look_around")
    finally:
        os.close(reading)
        os.close(writing)
    assert seen["inheritable"] == [0, 1, 2]
    others = [path for number, path in seen["descriptors"].items() if int(number) > 2]
    assert sorted(path.rpartition("/")[2].split(":")[0] for path in others) == ["memfd", "pipe", "pipe"]


async def test_a_job_writes_no_core_and_is_what_the_kernel_ends_first(shop: Jalebi) -> None:
    seen = await result(shop, "look_around")
    assert seen["limits"]["CORE"] == [0, 0]
    ours = int(Path("/proc/self/oom_score_adj").read_text())
    assert seen["oom_score_adj"] == min(1000, ours + EXPENDABLE)
    assert seen["limits"]["AS"] == list(resource.getrlimit(resource.RLIMIT_AS))


async def test_a_job_that_wants_too_much_memory_fails_alone_and_its_process_is_replaced() -> None:
    async with opened(kinds.make_shop(database_url="sqlite://", job_memory=GIB)) as shop:
        before = await result(shop, "look_around")
        assert before["limits"]["AS"] == [GIB, GIB]
        assert await failure(shop, "memory") == ("MemoryError", "Memory ran out.")
        assert (await result(shop, "look_around"))["pid"] != before["pid"]


async def test_memory_that_is_not_enough_to_start_is_said_in_a_sentence() -> None:
    async with opened(kinds.make_shop(database_url="sqlite://", job_memory=32 << 20)) as shop:
        job = await ended(shop, "look_around")
        assert job.error is not None
        assert job.error["type"] == "ChildError"
        assert job.error["message"].startswith("The child process could not start: it needs about ")
        assert job.error["message"].endswith("bytes, and job_memory allows 33554432.")


async def test_a_target_that_memory_does_not_suffice_for_is_said_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Children, "warm", AsyncMock())
    (tmp_path / "greedy.py").write_text("held = bytearray(4 << 30)")
    shop = Jalebi(database_url="sqlite://", job_memory=GIB)
    shop.target = str(tmp_path / "greedy.py")
    shop.job(max_attempts=1)(kinds.process_steps)
    async with opened(shop):
        job = await ended(shop, "process_steps")
        assert job.error is not None
        assert "MemoryError" in job.error["message"]
        assert job.error["message"].endswith("; the setting job_memory allows it 1073741824 bytes.")


async def test_a_file_may_not_grow_beyond_its_limit(tmp_path: Path) -> None:
    async with opened(kinds.make_shop(database_url="sqlite://", job_file_size=65536)) as shop:
        kind, message = await failure(shop, "file", str(tmp_path / "large"))
        assert (kind, "File too large" in message) == ("OSError", True)
        assert (tmp_path / "large").stat().st_size <= 65536


async def test_a_job_that_uses_up_its_cpu_time_ends_with_the_reason_and_its_stack() -> None:
    async with opened(kinds.make_shop(database_url="sqlite://", job_cpu=0.1)) as shop:
        job = await ended(shop, "perish", how="burn")
        assert job.error is not None
        assert job.error["type"] == "CpuLimit"
        assert job.error["message"] == "The job's process used more than its 0.1 s of CPU (job_cpu)."
        assert job.error["last_words"]["signal"] == "SIGXCPU"
        assert "in burn" in job.error["last_words"]["stack"]


async def test_cpu_time_is_counted_anew_for_every_job() -> None:
    async with opened(kinds.make_shop(database_url="sqlite://", job_cpu=100)) as shop:
        first, second = [await result(shop, "look_around") for _ in range(2)]
        assert first["pid"] == second["pid"]
        for seen in (first, second):
            assert 99 < seen["cpu"] - seen["cpu_used"] <= 101


async def test_a_job_that_ignores_the_end_of_its_cpu_time_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(handle, "CPU_SLACK", 0.0)
    async with opened(kinds.make_shop(database_url="sqlite://", job_cpu=0.1)) as shop:
        assert (await failure(shop, "burn on"))[0] == "CpuLimit"


async def test_what_a_job_leaves_running_ends_with_it(shop: Jalebi) -> None:
    left = await result(shop, "perish", how="leave others")
    assert len(left) == 3

    async def gone() -> bool | None:
        return None if any(is_running(pid) for pid in left) else True

    await eventually(gone)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize(
    "said",
    [
        "nonsense",
        "[1]",
        "[" * 50_000,
        '{"t": "ready"}',
        '{"t": "completed"}',
        '{"t": "progress", "p": [NaN, 1, null, null]}',
        '{"t": "log", "message": "a", "level": "loud"}',
        '{"t": "file", "path": "/etc/passwd", "size": 1, "name": "mine.txt", "media_type": null}',
    ],
)
async def test_a_job_that_writes_to_the_pipe_of_its_process_fails_alone(shop: Jalebi, said: str) -> None:
    assert await failure(shop, "say", said) == (
        "ProcessDied",
        "The job's process was killed: it wrote a line that is no message to the pipe through which it reports.",
    )
    assert (await ended(shop, "process_steps")).state is State.COMPLETED


async def test_a_line_without_end_is_not_read_to_its_end() -> None:
    async with opened(kinds.make_shop(database_url="sqlite://", max_result=1024)) as shop:
        assert (await failure(shop, "endless line"))[1] == (
            "The job's process was killed: it wrote a line without end to the pipe through which it reports."
        )


async def test_a_job_that_closes_all_its_descriptors_fails_alone(shop: Jalebi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MOMENT", 0.1)
    assert (await failure(shop, "close everything"))[1] == (
        "The job's process was killed: it closed the pipe through which it reports."
    )
    assert (await ended(shop, "process_steps")).state is State.COMPLETED
