"""The disk is full, or answers with errors, while jobs run: callers are told, jobs end, and it heals by itself."""

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final

import httpx2
import pytest

from tests.faults.harness import dice, figures, times
from tests.faults.storage import PATIENCE, Server, Told, check_disk, check_refusal, log_bursts, until

pytestmark = pytest.mark.faults

SIZE: Final = 2 << 20
#: Seconds within which a server takes jobs again once the disk is well.
HEALED: Final = 5.0
#: Seconds within which a caller has an answer, whatever the disk does; measured on machines that do other things too.
ANSWERED: Final = 3.0
#: Seconds of refusals after which a disk counts as full; the server looks every second.
SETTLED: Final = 1.3


class SmallDisk:
    """A file system of 2 MiB in a mount namespace of the server's own: it goes when the server goes."""

    def __init__(self, server: Server, inside: Path) -> None:
        self._server = server
        self.folder = Path(f"/proc/{server.pid}/root{inside}")
        self._filler = self.folder / "filler"

    def fill(self) -> None:
        """Leave no space."""
        with self._filler.open("ab", buffering=0) as filler, suppress(OSError):
            while filler.write(bytes(4096)):
                pass
        assert shutil.disk_usage(self.folder).free < 4096

    def check(self, told: Told) -> list[str]:
        """Say what is missing on it, while the server stands still."""
        self._server.process.send_signal(signal.SIGSTOP)
        try:
            return check_disk(self.folder, told)
        finally:
            self._server.process.send_signal(signal.SIGCONT)

    def empty(self) -> None:
        """Give the space back."""
        self._filler.unlink()


@asynccontextmanager
async def on_small_disk(place: Path) -> AsyncIterator[tuple[Server, SmallDisk]]:
    inside = place / "small"
    inside.mkdir()
    namespace = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    mount = f'mount -t tmpfs -o size={SIZE} tmpfs "$0" && exec "$@"'
    prefix = [*namespace, "sh", "-c", mount, str(inside)]
    if not await asyncio.to_thread(_works, [*prefix, "true"]):
        pytest.skip("this user may not mount a small file system")
    with Server(place, inside, prefix=prefix) as server:
        await server.started()
        yield server, SmallDisk(server, inside)


def _works(command: list[str]) -> bool:
    return shutil.which(command[0]) is not None and subprocess.run(command, capture_output=True).returncode == 0


async def submit_until_refused(client: httpx2.AsyncClient, told: Told, size: int) -> None:
    """Submit jobs until they are refused for good: the first refusal may have brought enough room for some more."""
    since: float | None = None

    async def refused() -> bool:
        nonlocal since
        began = time.monotonic()
        answer = await told.submit(client, "echo", "x" * size, delay=3600)
        assert time.monotonic() - began < ANSWERED
        since = None if answer.status_code == 202 else since or began
        return since is not None and time.monotonic() - since > SETTLED

    await until(refused)


async def is_ready(client: httpx2.AsyncClient) -> bool:
    return (await client.get("/readyz")).status_code == 200


async def running(client: httpx2.AsyncClient, job_id: str) -> bool:
    return bool((await client.get(f"/v1/jobs/{job_id}")).json()["state"] == "running")


async def begin(client: httpx2.AsyncClient, told: Told, place: Path, count: int) -> tuple[list[str], Path]:
    """Start jobs that run until a gate is opened; return their ids and the gate."""
    gate = place / f"gate{len(told.accepted)}"
    held = [(await told.submit(client, "hold", str(gate))).json()["id"] for _ in range(count)]
    for job_id in held:
        await until(lambda job_id=job_id: running(client, job_id))  # type: ignore[misc]
    return held, gate


async def check_refuses(client: httpx2.AsyncClient, told: Told, reason: str) -> None:
    """Check all that a server in trouble answers without the disk's help."""
    for path in ("/", "/jobs", "/v1/jobs", f"/v1/jobs/{next(iter(told.accepted))}", "/v1/stats", "/livez"):
        assert (await client.get(path)).status_code == 200, path
    unready = await client.get("/readyz")
    check_refusal(unready)
    assert reason in unready.json()["detail"]
    began = time.monotonic()
    assert (await told.submit(client, "echo", "small")).status_code == 503
    assert time.monotonic() - began < ANSWERED


async def test_a_full_disk_refuses_new_jobs_and_ends_those_that_run(tmp_path: Path) -> None:
    rng, told = dice("full disk"), Told()
    healing: list[float] = []
    async with on_small_disk(tmp_path) as (server, disk), server.client() as client:
        rounds = times(1, 20)
        for _ in range(rounds):
            held, gate = await begin(client, told, tmp_path, 6)
            waiting = (await told.submit(client, "echo", "later", delay=3600)).json()["id"]
            disk.fill()
            full_at = time.monotonic()
            await submit_until_refused(client, told, rng.choice([100, 3000, 20_000]))
            await check_refuses(client, told, "the disk is full")
            check_refusal(await client.post("/v1/uploads", content=b"x" * 10_000))
            assert (await client.post(f"/v1/jobs/{waiting}/cancel", json={})).status_code == 200
            assert (await client.post(f"/v1/jobs/{held[0]}/cancel", json={})).status_code == 202
            gate.touch()
            for job_id in held:
                await until(lambda job_id=job_id: told.look(client, job_id))  # type: ignore[misc]
            assert told.ended[held[0]] in {"cancelled", "completed"}
            assert [told.ended[job_id] for job_id in held[1:]] == ["completed"] * 5
            while time.monotonic() - full_at < 2.5:  # an eager crowd must not fill the log
                await check_refuses(client, told, "the disk is full")
            disk.empty()
            healing.append(await until(lambda: is_ready(client), HEALED))  # nobody submits meanwhile
            assert (await told.submit(client, "echo", "again")).status_code == 202
            await cancel_delayed(client, told)
        await told.all_over(client)
        findings = disk.check(told) + log_bursts(server.log, full_at)
    assert "takes every write again" in server.lines
    figures(
        "full disk", findings, rounds=rounds, accepted=len(told.accepted), log_lines=len(server.log),
        healed_within=f"{max(healing):.2f} s",
    )  # fmt: skip


async def cancel_delayed(client: httpx2.AsyncClient, told: Told) -> None:
    """Cancel what is to run much later, so that everything comes to an end."""
    for job_id in told.accepted.keys() - told.ended.keys():
        if (await client.get(f"/v1/jobs/{job_id}")).json()["state"] == "scheduled":
            assert (await client.post(f"/v1/jobs/{job_id}/cancel", json={})).status_code == 200


async def test_a_disk_that_jobs_have_filled_is_freed_by_deleting_jobs(tmp_path: Path) -> None:
    told = Told()
    async with on_small_disk(tmp_path) as (server, disk), server.client() as client:
        held, gate = await begin(client, told, tmp_path, 4)
        await submit_until_refused(client, told, 15_000)
        await check_refuses(client, told, "the disk is full")
        stored = len(told.accepted)
        gate.touch()
        for job_id in held:
            await until(lambda job_id=job_id: told.look(client, job_id))  # type: ignore[misc]
        doomed = [job_id for job_id, (kind, _) in told.accepted.items() if kind == "echo"][: stored * 2 // 3]
        for job_id in doomed:
            assert (await client.delete(f"/v1/jobs/{job_id}")).status_code == 204
            del told.accepted[job_id]
        healed = await until(lambda: is_ready(client), HEALED)
        assert (await told.submit(client, "echo", "again")).status_code == 202
        await cancel_delayed(client, told)
        await told.all_over(client)
        findings = disk.check(told)
    figures("filled disk", findings, stored=stored, deleted=len(doomed), healed_within=f"{healed:.2f} s")


@contextmanager
def failing(server: Server, fault: str) -> Iterator[None]:
    """Let system calls of the server fail for as long as the block lasts."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("there is no strace")
    process = subprocess.Popen(
        [strace, "-f", "-q", "-o", os.devnull, "-e", f"inject={fault}", "-p", str(server.pid)],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        if not _attached(server, process):
            assert process.stderr is not None
            pytest.skip(f"strace may not attach: {process.stderr.read().strip()}")
        yield
    finally:
        process.send_signal(signal.SIGINT)  # it lets go of the server
        process.wait(PATIENCE)
        if process.stderr is not None:
            process.stderr.close()


def _attached(server: Server, strace: "subprocess.Popen[str]") -> bool:
    """Wait until every thread of the server is traced; False where strace gave up."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and strace.poll() is None:
        with suppress(OSError):
            threads = list(Path(f"/proc/{server.pid}/task").iterdir())
            if all("\nTracerPid:\t0\n" not in (thread / "status").read_text() for thread in threads):
                return True
        time.sleep(0.01)
    return False


FAULTS: Final = ["fsync,fdatasync:error=EIO", "pwrite64:error=EIO", "fsync,fdatasync:error=EIO:when=2+3"]


@pytest.mark.parametrize("fault", FAULTS[: times(1, len(FAULTS))])
async def test_an_error_of_the_disk_costs_a_connection_and_no_job(tmp_path: Path, fault: str) -> None:
    rng, told = dice(f"disk errors {fault}"), Told()
    healing: list[float] = []
    refused = 0
    (tmp_path / "disk").mkdir()
    with Server(tmp_path, tmp_path / "disk") as server:
        await server.started()
        rounds = times(1, 15)
        async with server.client() as client:
            for _ in range(rounds):
                held, gate = await begin(client, told, tmp_path, 4)
                for _ in range(20):
                    assert (await told.submit(client, "echo", "before")).status_code == 202
                began = time.monotonic()
                with failing(server, fault):
                    refused += await crowd(client, told, rng.uniform(1.1, times(2, 4)), gate)
                healing.append(await until(lambda: is_ready(client), HEALED))
                assert (await told.submit(client, "echo", "again")).status_code == 202
                for job_id in held:
                    await until(lambda job_id=job_id: told.look(client, job_id))  # type: ignore[misc]
        bursts = log_bursts(server.log, began)
        await server.kill()
    assert refused
    assert "its connection is closed" in server.lines
    with Server(tmp_path, tmp_path / "disk") as later:  # what was accepted is in the file, not in a memory
        await later.started()
        async with later.client() as client:
            await told.all_over(client)
        findings = check_disk(tmp_path / "disk", told) + bursts
    findings += [f"job {job_id} is {state}" for job_id, state in told.ended.items() if state != "completed"]
    figures(
        f"disk errors {fault}", findings, rounds=rounds, accepted=len(told.accepted), refused=refused,
        log_lines=len(server.log), healed_within=f"{max(healing):.2f} s",
    )  # fmt: skip


async def crowd(client: httpx2.AsyncClient, told: Told, seconds: float, gate: Path) -> int:
    """Submit jobs and read pages for some time, and let the held jobs end in it; return how many were refused."""
    end, refused = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        if time.monotonic() > end - seconds / 2:
            gate.touch()
        answers = await asyncio.gather(*(told.submit(client, "echo", "x" * 50) for _ in range(3)))
        refused += sum(answer.status_code == 503 for answer in answers)
        for path in ("/", "/v1/jobs", "/livez"):
            assert (await client.get(path)).status_code == 200
    return refused
