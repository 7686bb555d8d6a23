"""A job drawn in a terminal, line over line; and written, a line for each change, where there is none."""

import re
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.cells import cell_len

from jalebi.events import Event, Snapshot
from jalebi.jobs import Job, Progress, State, failure
from jalebi.mailbox import Advance
from jalebi.web.watching import Painter, Writer, bar_of, line_of
from tests.support import Live
from tests.test_jobs import a_job

CURL = {"User-Agent": "curl/8.5.0"}
CLEAR = "\r\x1b[2K"


def running(done: float, message: str | None = None) -> Job:
    return a_job(State.RUNNING, id="0199-abcdefgh", started_at=1.0, progress=Progress(done, 200.0, "pages", message))


def drawn(painter: Painter, job: Job) -> str:
    return painter.shown(Snapshot(job)).decode()


async def test_curl_sees_a_bar_that_moves_and_ends_with_how_it_ended(quick: Live) -> None:
    job = await quick.submit("steps", args={"count": 5, "pause": 0.12})
    answer = await quick.client.get(f"/v1/jobs/{job['id']}/watch", headers=CURL)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-accel-buffering"] == "no"
    frames = [re.sub(r"\x1b\[\d*m", "", frame) for frame in answer.text.split(CLEAR)[1:]]
    assert len(frames) >= 4
    assert all("\n" not in frame for frame in frames[:-1])
    assert frames[-1].startswith("✓ steps")
    assert frames[-1].endswith("\n")
    percents = [int(found[1]) for frame in frames if (found := re.search(r"(\d+) %", frame))]
    assert percents == sorted(percents)
    assert all(cell_len(frame.strip()) <= 79 for frame in frames)


async def test_elsewhere_each_change_is_a_line(quick: Live, tmp_path: Path) -> None:
    job = await quick.submit("chatty", args={"lines": 3})
    for headers, query in (({"User-Agent": "Mozilla/5.0"}, ""), (CURL, "?ansi=false")):
        answer = await quick.client.get(f"/v1/jobs/{job['id']}/watch{query}", headers=headers)
        assert "\x1b" not in answer.text
        assert "\r" not in answer.text
        assert "completed" in answer.text.splitlines()[-1]
        assert "line 1" not in answer.text
    drawn_anyway = await quick.client.get(f"/v1/jobs/{job['id']}/watch?ansi=true", headers={"User-Agent": "Mozilla"})
    assert drawn_anyway.text.startswith(CLEAR)


async def test_a_failure_says_why(quick: Live) -> None:
    job = await quick.submit("fail", args={"message": "no paper"})
    answer = await quick.client.get(f"/v1/jobs/{job['id']}/watch", headers=CURL)
    assert "JobFailed: no paper" in answer.text.split(CLEAR)[-1]


@pytest.mark.parametrize(("query", "status"), [("width=5", 400), ("width=x", 400), ("ansi=1", 400), ("color=no", 422)])
async def test_what_can_not_be_drawn_is_a_problem(quick: Live, query: str, status: int) -> None:
    job = await quick.submit("echo")
    assert (await quick.client.get(f"/v1/jobs/{job['id']}/watch?{query}")).status_code == status
    assert (await quick.client.get("/v1/jobs/none/watch")).status_code == 404
    assert (await quick.client.head(f"/v1/jobs/{job['id']}/watch")).content == b""


@pytest.mark.parametrize(
    "evil", ["\x1b[2J\x1b[31mred", "a\rb\nc", "\x9b31m", "\u202eevil", "tab\there", "\x00\x07", "\u2028line\u2029"]
)
def test_nothing_that_a_job_says_steers_the_terminal(evil: str) -> None:
    jobs = [
        running(5, evil),
        replace(running(5), kind=evil, state=State.FAILED, error=failure(evil, evil), finished_at=2.0),
    ]
    for job in jobs:
        for frame in (drawn(Painter(200), job), drawn(Writer(200), job)):
            inside = re.sub(r"^\r\x1b\[2K\x1b\[\d+m(.*)\x1b\[0m\n?$", r"\1", frame).rstrip("\n")
            assert inside.isprintable(), ascii(frame)


def test_wide_characters_count_for_what_they_take() -> None:
    frame = drawn(Painter(40), running(5, "名" * 60))
    line = re.sub(r"\x1b\[\d*[mK]|\r", "", frame)
    assert cell_len(line) <= 39
    assert line.endswith("…")


def test_a_bar_is_as_long_as_what_is_done() -> None:
    assert bar_of(0) == bar_of(None) == f"▕{' ' * 24}▏"
    assert bar_of(100) == f"▕{'█' * 24}▏"
    assert bar_of(50) == f"▕{'█' * 12}{' ' * 12}▏"
    assert len({len(bar_of(percent / 7)) for percent in range(701)}) == 1
    assert "█" in line_of(running(100), bar=True)
    assert "█" not in line_of(running(100), bar=False)


def test_lines_come_once_a_second_and_at_every_change_of_state() -> None:
    now = [0.0]
    writer = Writer(80, lambda: now[0])
    assert drawn(writer, running(2)).endswith("1 of 200 pages\n") is False
    first = running(2)
    assert writer.shown(Snapshot(first)) == b""
    for step in range(3, 40):
        now[0] += 0.1
        writer.shown(Advance(first, 2, Progress(float(step), 200.0, "pages")))
    job = replace(first, state=State.COMPLETED, finished_at=3.0, seq=3)
    assert "completed" in writer.shown(Event(3, "completed", 3.0, job)).decode()
    assert writer.shown(Event(4, "log", 3.0, job, {"log": {}})) == b""
    assert writer.again() == b"\n"
    assert Painter(80).again() == b"\r"
