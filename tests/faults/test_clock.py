"""A server whose wall clock is set by hours: what runs goes on, what is due is done once, and nothing is lost."""

import os
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from tests.support import server

pytestmark = pytest.mark.faults

HOUR: Final = 3600
#: Seconds after which what is due must have been done.
PROMPT: Final = 2.0
#: Seconds for which running jobs are looked at after a jump: several leases, and at least one search for lost attempts.
WATCH: Final = 5.5
PATIENCE: Final = 15.0

SHOP: Final = """
import asyncio
import time
from pathlib import Path

from jalebi import Jalebi, JobContext

shop = Jalebi()


@shop.job
async def hold_loop(ctx: JobContext, until: str) -> None:
    done = 0
    while not Path(until).exists():
        ctx.progress(done := done + 1, 1_000_000)
        await asyncio.sleep(0.05)


def hold(ctx: JobContext, until: str) -> None:
    done = 0
    while not Path(until).exists():
        ctx.progress(done := done + 1, 1_000_000)
        time.sleep(0.05)


shop.job(name="hold_thread", isolation="thread")(hold)
shop.job(name="hold_process", isolation="process")(hold)


@shop.job
async def mark(name: str) -> None:
    with open("ran.txt", "a") as file:
        file.write(name + "\\n")


@shop.job(backoff=1)
async def again(ctx: JobContext, until: str = "") -> int:
    while ctx.attempt == 1 and until and not Path(until).exists():
        await asyncio.sleep(0.01)
    if ctx.attempt == 1:
        raise RuntimeError("not yet")
    return ctx.attempt


@shop.job
async def clocks() -> dict[str, float]:
    return {"wall": time.time(), "loop": asyncio.get_running_loop().time(), "steady": time.monotonic()}
"""
#: A build that takes no notice of a clock that was set.
CARELESS: Final = (
    SHOP
    + """
import jalebi.store.sqlite
assert jalebi.store.sqlite.CLOCK_SET
jalebi.store.sqlite.CLOCK_SET = float("inf")
"""
)


@dataclass
class World:
    """A served shop, and the clock of its machine."""

    api: httpx2.Client
    folder: Path
    shift: int = 0

    def set(self, hours: int) -> float:
        """Set the clock to so many hours before the true time; return when that was."""
        self.shift = hours * HOUR
        with (self.folder / "shift").open("r+b", buffering=0) as file:
            file.write(struct.pack("=q", self.shift))
        return time.monotonic()

    def later(self, hours: float) -> str:
        """Return the time in so many hours by the server's clock."""
        return datetime.fromtimestamp(time.time() + self.shift + hours * HOUR, UTC).isoformat()

    def submit(self, kind: str, args: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        answer = self.api.post("/v1/jobs", json={"kind": kind, "args": args or {}, **more})
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        answer = self.api.get(path, params=parameters, headers={"Accept": "application/json"})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def job(self, job: dict[str, Any]) -> dict[str, Any]:
        return self.get(f"/v1/jobs/{job['id']}")

    def until(
        self, job: dict[str, Any], is_so: Callable[[dict[str, Any]], object], patience: float = PATIENCE
    ) -> dict[str, Any]:
        """Return the job once something is so; fail where it is not so in time."""
        ends = time.monotonic() + patience
        while not is_so(found := self.job(job)):
            assert time.monotonic() < ends, f"it is still so after {patience} s: {found}"
            time.sleep(0.02)
        return found

    def reaches(self, job: dict[str, Any], state: str, patience: float = PATIENCE) -> dict[str, Any]:
        return self.until(job, lambda found: found["state"] == state, patience)


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shim, compiled."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        assert not os.environ.get("CI"), "there is no C compiler, and here there must be one"
        pytest.skip("there is no C compiler to build the clock shim with")
    library = tmp_path_factory.mktemp("shim") / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O2", "-Wall", "-o", library, source, "-ldl"], check=True, timeout=60
    )
    return library


@contextmanager
def served(shim: Path, folder: Path, shop: str = SHOP) -> Iterator[World]:
    """Serve a shop on a machine whose clock can be set."""
    (folder / "sweets.py").write_text(shop)
    (folder / "shift").write_bytes(struct.pack("=q", 0))
    env = {"LD_PRELOAD": str(shim), "CLOCK_SHIFT": str(folder / "shift"), "JALEBI_LEASE": "2", "JALEBI_PORT": "0"}
    with (
        server("serve", "sweets", cwd=folder, env=env) as process,
        httpx2.Client(base_url=process.ready(), timeout=PATIENCE) as api,
    ):
        yield World(api, folder)


@pytest.fixture(scope="module")
def calm(shim: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A served shop without any work: the first to notice a clock that was set is what the test does next."""
    with served(shim, tmp_path_factory.mktemp("calm")) as world:
        yield world


@dataclass
class Journey:
    """What was seen of a server while its clock was set: two hours on, two back, four on, six on, and right again."""

    order: list[dict[str, Any]] = field(default_factory=list)
    held: list[dict[str, Any]] = field(default_factory=list)
    seen: list[list[dict[str, Any]]] = field(default_factory=list)
    lateness: dict[str, float] = field(default_factory=dict)
    early: dict[str, str] = field(default_factory=dict)
    stats: list[dict[str, Any]] = field(default_factory=list)
    states: dict[str, int] = field(default_factory=dict)
    listing: list[str] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)


class Traveller:
    """Makes the journey."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.journey = Journey()
        self.marks: dict[str, dict[str, Any]] = {}

    def submit(self, kind: str, args: dict[str, Any], **more: Any) -> dict[str, Any]:
        job = self.world.submit(kind, args, **more)
        self.journey.order.append(job)
        return job

    def mark(self, name: str, **more: Any) -> None:
        self.marks[name] = self.submit("mark", {"name": name}, **more)

    def done(self, since: float, *names: str) -> None:
        for name in names:
            self.world.reaches(self.marks[name], "completed")
            self.journey.lateness[name] = time.monotonic() - since

    def look(self, jobs: list[dict[str, Any]], since: float) -> None:
        """Look at running jobs for a while."""
        while time.monotonic() < since + WATCH:
            self.journey.seen.append([self.world.job(job) for job in jobs])
            time.sleep(0.1)
        self.journey.stats.append(self.world.get("/v1/stats"))

    def go(self) -> Journey:
        world, journey = self.world, self.journey
        end = {"until": str(world.folder / "end")}
        jobs = [self.submit(f"hold_{isolation}", end) for isolation in ("loop", "thread", "process")]
        for job in jobs:
            world.until(job, lambda found: found["progress"] and found["progress"]["rate"])
        self.mark("at once")
        self.mark("after an hour", delay=HOUR)
        self.mark("at one", run_at=world.later(1))
        self.mark("at five", run_at=world.later(5))

        since = world.set(2)
        self.done(since, "after an hour", "at one")
        self.mark("at three", run_at=world.later(1))
        self.look(jobs, since)
        since = world.set(0)
        self.mark("back home")
        self.done(since, "back home")
        self.look(jobs, since)
        journey.early |= {name: world.job(self.marks[name])["state"] for name in ("at three", "at five")}
        self.done(world.set(4), "at three")
        journey.early["at five, at four"] = world.job(self.marks["at five"])["state"]
        self.done(world.set(6), "at five")
        world.set(0)

        Path(end["until"]).touch()
        journey.held = [world.until(job, lambda found: found["finished_at"]) for job in jobs]
        journey.states = world.get("/v1/stats")["states"]
        journey.listing = [job["id"] for job in world.get("/v1/jobs")["jobs"]]
        journey.events = world.get("/v1/events", after=journey.order[0]["cursor"])["events"]
        journey.ran = (world.folder / "ran.txt").read_text().split("\n")[:-1]
        return journey


@pytest.fixture(scope="module")
def journey(shim: Path, tmp_path_factory: pytest.TempPathFactory) -> Journey:
    """The journey, made once for all who look at it."""
    with served(shim, tmp_path_factory.mktemp("journey")) as world:
        return Traveller(world).go()


def test_the_clock_that_is_set_is_the_wall_clock_only(calm: World) -> None:
    calm.set(2)
    job = calm.submit("clocks")
    calm.reaches(job, "completed")
    read = calm.get(f"/v1/jobs/{job['id']}/result")
    assert read["wall"] - time.time() == pytest.approx(2 * HOUR, abs=5)
    assert read["steady"] == pytest.approx(time.monotonic(), abs=5)
    assert read["loop"] == pytest.approx(read["steady"], abs=1)


def test_no_running_job_of_any_isolation_is_taken_for_lost(journey: Journey) -> None:
    assert all((job["state"], job["attempt"]) == ("running", 1) for jobs in journey.seen for job in jobs)
    assert [(job["state"], job["attempt"]) for job in journey.held] == [("completed", 1)] * 3
    assert "retrying" not in {event["type"] for event in journey.events}


def test_running_jobs_keep_their_pace_and_say_so(journey: Journey) -> None:
    for place in range(3):
        beats = [jobs[place]["progress"] for jobs in journey.seen]
        assert all(later["done"] >= sooner["done"] for sooner, later in pairwise(beats))
        assert beats[-1]["done"] - beats[0]["done"] > 2 * WATCH * 20 / 3, "it went on at less than a third of its pace"
        assert all(1 < beat["rate"] < 40 for beat in beats), [beat["rate"] for beat in beats]
        assert all(0 <= beat["eta_seconds"] < 1_000_000 for beat in beats)


def test_a_delayed_job_starts_once_and_when_the_wall_clock_says_so(journey: Journey) -> None:
    assert journey.early == {"at three": "scheduled", "at five": "scheduled", "at five, at four": "scheduled"}
    assert sorted(journey.ran) == sorted(["at once", "back home", "after an hour", "at one", "at three", "at five"])
    assert {name: late for name, late in journey.lateness.items() if late > PROMPT} == {}


def test_ids_listings_and_events_keep_their_order(journey: Journey) -> None:
    ids = [job["id"] for job in journey.order]
    assert ids == sorted(ids)
    assert journey.listing == ids[::-1]
    cursors = [event["cursor"] for event in journey.events]
    numbers = [int(cursor.rpartition("-")[2]) for cursor in cursors]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    for job in journey.order:
        seqs = [event["seq"] for event in journey.events if event["job_id"] == job["id"]]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


def test_counts_and_rates_stay_true(journey: Journey) -> None:
    assert {state: n for state, n in journey.states.items() if n} == {"completed": len(journey.order)}
    for stats in journey.stats:
        for window, seconds in {"1m": 60, "5m": 300, "1h": 3600}.items():
            rate = stats["rates"][window]
            assert 0 <= rate["finished_per_second"] <= len(journey.order) / seconds + 0.001
            assert rate["failure_ratio"] == 0


def retries_on_time(world: World, hours: int) -> None:
    """Set the clock while a job waits a second for its retry; fail where that takes much longer."""
    world.set(0)
    job = world.submit("again")
    world.reaches(job, "retrying")
    world.set(hours)
    assert world.reaches(job, "completed", 4)["attempt"] == 2


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_retry_waits_for_seconds_that_pass_and_not_for_a_time_of_day(calm: World, hours: int) -> None:
    retries_on_time(calm, hours)


@pytest.mark.parametrize("hours", [-2, 2])
def test_an_attempt_that_fails_right_after_the_clock_was_set_is_retried_in_time(
    calm: World, hours: int, tmp_path: Path
) -> None:
    calm.set(0)
    job = calm.submit("again", {"until": str(tmp_path / "now")})
    calm.reaches(job, "running")
    calm.set(hours)
    (tmp_path / "now").touch()
    done = calm.reaches(job, "completed", 4)
    events = calm.get(f"/v1/jobs/{job['id']}/events")["events"]
    at = {event["type"]: datetime.fromisoformat(event["at"]) for event in events}
    assert done["attempt"] == 2
    assert (at["started"] - at["retrying"]).total_seconds() >= 0.8, "it did not wait for its second"


def test_a_server_that_does_not_notice_the_clock_is_found_out(shim: Path, tmp_path: Path) -> None:
    with served(shim, tmp_path, CARELESS) as world, pytest.raises(AssertionError, match="'state': 'retrying'"):
        retries_on_time(world, -2)
