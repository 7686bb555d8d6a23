"""The command line and the server as a process: starting, refusing to start, stopping, being killed."""

import asyncio
import json
import os
import signal
import socket
import time
from pathlib import Path

import httpx2
import pytest
import uvicorn
import websockets

from jalebi import Jalebi, serve
from tests.support import ServerProcess, eventually, server

REPOSITORY = Path(__file__).resolve().parents[2]
SHOP = """
import asyncio, time
from jalebi import Jalebi, JobContext, track
shop = Jalebi()

@shop.job
async def add(a: int, b: int) -> int:
    return a + b

@shop.job
async def forever(ctx: JobContext) -> None:
    while True:
        ctx.progress(1, 2)
        await asyncio.sleep(0.01)

@shop.job
def stubborn() -> None:
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass

@shop.job
async def linger(ctx: JobContext) -> None:
    await asyncio.to_thread(time.sleep, 300)

@shop.job
def where() -> str:
    return __file__
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sweets.py").write_text(SHOP)
    return tmp_path


async def result(url: str, kind: str, args: dict[str, object] | None = None) -> object:
    async with httpx2.AsyncClient(base_url=url) as client:
        job = (await client.post("/v1/jobs", json={"kind": kind, "args": args or {}})).json()

        async def over() -> httpx2.Response | None:
            answer = await client.get(job["links"]["result"])
            return answer if answer.status_code == 200 else None

        return (await eventually(over)).json()


@pytest.mark.parametrize("target", ["sweets.py", "sweets", "sweets:shop"])
async def test_a_shop_is_served_and_its_process_jobs_find_their_module(folder: Path, target: str) -> None:
    with server("serve", target, "--port", "0", "--database", "sqlite://", cwd=folder) as process:
        url = process.ready()
        assert await result(url, "add", {"a": 1, "b": 2}) == 3
        assert await result(url, "where") == str(folder / "sweets.py")
        assert process.stop() == 0


async def test_settings_come_from_the_environment_and_a_file_and_flags_win(folder: Path) -> None:
    (folder / ".env").write_text("JALEBI_DATABASE_URL=sqlite:///from_file.db\nJALEBI_PORT=1\n")
    env = {"JALEBI_CONCURRENCY": "3"}
    with server("serve", "sweets", "--port", "0", cwd=folder, env=env) as process:
        process.ready()
        assert (folder / "from_file.db").exists()
        assert process.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["serve", "no_module"], "There is no module no_module."),
        (["serve", "sweets:nothing"], "sweets has no attribute nothing."),
        (["serve", "sweets:asyncio"], "sweets:asyncio is not a Jalebi but a module."),
        (["serve", "sweets", "--database", "sqlite:////no/such/folder/a.db"], "can't be opened"),
        (["serve", "sweets", "--database", "sqlite:///junk.db"], "The database junk.db can't be"),
        (["serve", "sweets", "--host", "0.0.0.0"], "only with a token; set JALEBI_TOKEN."),
        (["serve", "sweets", "--port", "99999"], "The setting port is not valid"),
        (["serve", "sweets", "--host", "no.such.host.invalid"], "is not an address"),
    ],
)
def test_what_can_not_be_served_is_said_in_one_sentence(folder: Path, arguments: list[str], sentence: str) -> None:
    (folder / "junk.db").write_bytes(b"not a database at all" * 500)
    with server(*arguments, cwd=folder) as process:
        assert process.process.wait(20) == 2
        process._reader.join(5)
        [line] = process.errors
        assert line.startswith("jalebi: ")
        assert sentence in line


def test_a_taken_port_is_said_in_one_sentence(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with server("serve", "sweets", "--port", port, "--database", "sqlite://", cwd=folder) as process:
            assert process.process.wait(20) == 2
            process._reader.join(5)
            assert process.errors == [f"jalebi: The port {port} on 127.0.0.1 is taken; choose another with --port.\n"]


async def test_a_terminated_server_tells_its_subscribers_and_hands_jobs_back(folder: Path) -> None:
    env = {"JALEBI_GRACE": "0.2", "JALEBI_CANCEL_GRACE": "0.2"}
    database = f"sqlite:///{folder / 'jobs.db'}"
    with server("serve", "sweets", "--port", "0", "--database", database, cwd=folder, env=env) as process:
        url = process.ready()
        idle = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))
        half = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))
        half.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        async with httpx2.AsyncClient(base_url=url) as client:
            jobs = [(await client.post("/v1/jobs", json={"kind": kind})).json() for kind in ("forever", "stubborn")]
            for job in jobs:

                async def running(job: dict[str, str] = job) -> bool | None:
                    found = (await client.get(f"/v1/jobs/{job['id']}")).json()
                    return True if found["state"] == "running" else None

                await eventually(running)
            async with websockets.connect(f"{url.replace('http', 'ws')}/ws/jobs/{jobs[0]['id']}") as socket_:
                assert json.loads(await socket_.recv())["type"] == "snapshot"
                began = time.monotonic()
                process.process.send_signal(signal.SIGTERM)
                async for _ in socket_:
                    pass
                assert socket_.close_code == 1001
        assert process.process.wait(30) == 0
        assert time.monotonic() - began < 30  # the promise of the contract, not a measurement
        idle.close()
        half.close()
    with server("serve", "sweets", "--port", "0", "--database", database, "--no-workers", cwd=folder) as process:
        url = process.ready()
        async with httpx2.AsyncClient(base_url=url) as client:
            for job in jobs:
                found = (await client.get(f"/v1/jobs/{job['id']}")).json()
                assert (found["state"], found["attempt"], found["error"]) == ("queued", 1, None)


async def test_a_server_does_not_wait_for_a_thread_that_a_job_has_left_behind(folder: Path) -> None:
    env = {"JALEBI_GRACE": "0.1"}
    with server("serve", "sweets", "--port", "0", "--database", "sqlite://", cwd=folder, env=env) as process:
        url = process.ready()
        async with httpx2.AsyncClient(base_url=url) as client:
            job = (await client.post("/v1/jobs", json={"kind": "linger"})).json()

            async def running() -> bool | None:
                found = (await client.get(f"/v1/jobs/{job['id']}")).json()
                return True if found["state"] == "running" else None

            await eventually(running)
        assert process.stop() == 0


def test_an_interrupt_twice_stops_at_once(folder: Path) -> None:
    env = {"JALEBI_GRACE": "60"}
    with server("serve", "sweets", "--port", "0", "--database", "sqlite://", cwd=folder, env=env) as process:
        url = process.ready()
        with httpx2.Client(base_url=url) as client:
            client.post("/v1/jobs", json={"kind": "forever"})
        process.process.send_signal(signal.SIGINT)
        with pytest.raises(Exception, match="timed out"):
            process.process.wait(0.5)
        assert process.stop(signal.SIGINT) == 0


async def test_nothing_accepted_is_lost_when_the_server_is_killed(folder: Path) -> None:
    database = f"sqlite:///{folder / 'jobs.db'}"
    arguments = ("serve", "sweets", "--port", "0", "--database", database)
    with server(*arguments, cwd=folder) as process:
        url = process.ready()
        async with httpx2.AsyncClient(base_url=url) as client:
            jobs = [
                (await client.post("/v1/jobs", json={"kind": "add", "args": {"a": n, "b": n}})).json()
                for n in range(30)
            ]
            stuck = (await client.post("/v1/jobs", json={"kind": "stubborn", "max_attempts": 1})).json()

            async def running() -> bool | None:
                found = (await client.get(f"/v1/jobs/{stuck['id']}")).json()
                return True if found["state"] == "running" else None

            await eventually(running)
        children = children_of(process)
        assert children
        process.stop(signal.SIGKILL)

        async def gone() -> bool | None:
            return True if not any(alive(pid) for pid in children) else None

        await eventually(gone)  # no child outlives its server
    with server(*arguments, cwd=folder) as process:
        url = process.ready()
        async with httpx2.AsyncClient(base_url=url) as client:
            for number, job in enumerate(jobs):

                async def over(job: dict[str, str] = job) -> httpx2.Response | None:
                    answer = await client.get(f"/v1/jobs/{job['id']}/result")
                    return answer if answer.status_code == 200 else None

                assert (await eventually(over)).json() == 2 * number
            lost = (await client.get(f"/v1/jobs/{stuck['id']}")).json()
            assert (lost["state"], lost["error"]["type"]) == ("failed", "WorkerLost")


def children_of(process: ServerProcess) -> list[int]:
    pid = process.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


async def test_a_server_that_rests_is_woken_by_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "TICK", 3600.0)
    shop = Jalebi(database_url="sqlite://", workers=False)
    for signals in (1, 2):
        resting = serve.Server(uvicorn.Config(shop, log_level="warning", lifespan="off"), shop)
        resting._loop = asyncio.get_running_loop()
        async with asyncio.timeout(10):
            main = asyncio.create_task(resting.main_loop())
            await asyncio.sleep(0)
            for _ in range(signals):
                resting.handle_exit(signal.SIGTERM, None)
            await main
        assert resting.force_exit == (signals == 2)
