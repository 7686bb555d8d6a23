"""The client's commands in a real pseudo-terminal: bars that move, lines that stay, windows, keys, plain terminals."""

import re
from pathlib import Path

import pytest

from tests.commands.running import terminal
from tests.support import Live


def percents(frames: list[list[str]]) -> list[int]:
    return [int(found[1]) for frame in frames for line in frame if (found := re.search(r"(\d+)%", line))]


async def test_a_bar_is_drawn_over_in_place_and_ends_as_one_line(quick: Live) -> None:
    job = await quick.submit("steps", args={"count": 40, "pause": 0.03})
    async with terminal(quick, "watch", job["id"]) as screen:
        assert await screen.end() == 0
    seen = percents(screen.frames)
    assert seen == sorted(seen)
    assert len(set(seen)) > 3
    assert all(len(frame) == 1 for frame in screen.frames if frame)  # one job, one line, whatever was drawn before
    moving = rf"running\s+steps …{job['id'][-8:]} \S*━.* \d+% \d+/40 steps [\d.]+/s eta 0:0\d"
    assert any(re.match(moving, line) for frame in screen.frames for line in frame), screen.frames
    [line] = screen.frames[-1]
    assert re.fullmatch(rf"completed\s+steps {job['id']} in \d+\.\d s", line)
    assert "\x1b[?25l" in screen.raw
    assert screen.raw.rindex("\x1b[?25h") > screen.raw.rindex("\x1b[?25l")  # the cursor is back


async def test_several_jobs_have_a_bar_each_and_end_each_in_a_line(quick: Live, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    slow = await quick.submit("wait_for", args={"path": str(gate)})
    held = await quick.submit("hold")
    bad = await quick.submit("fail", args={"message": "burnt \x1b]0;pwned\x07"})
    async with terminal(quick, "watch", slow["id"], held["id"], bad["id"]) as screen:
        await screen.until(lambda: screen.shown.count("━") > 2 and "burnt" in screen.shown)
        assert re.search(r"running\s+wait_for .* 50% 1/2 .* waiting", screen.shown)
        assert re.search(r"running\s+hold .* 25% 1/4 turns", screen.shown)
        gate.touch()
        await screen.until(lambda: f"wait_for {slow['id']}" in screen.shown)
        await quick.client.post(f"/v1/jobs/{held['id']}/cancel")
        assert await screen.end() == 1
    lines = screen.frames[-1]
    assert [line.split()[0] for line in lines] == ["failed", "completed", "cancelled"]
    assert lines[0].endswith(rf"fail {bad['id']} JobFailed: burnt \x1b]0;pwned\x07")
    assert "\x1b]" not in screen.raw


@pytest.mark.parametrize("columns", [30, 50, 70, 110])
async def test_bars_fit_the_window_and_follow_its_size(quick: Live, columns: int) -> None:
    job = await quick.submit("hold")
    async with terminal(quick, "watch", job["id"], columns=columns) as screen:
        await screen.until(lambda: "25%" in screen.shown)
        assert all(len(line) <= columns for line in screen.shown.split("\n"))
        screen.resize(columns + 40)
        await screen.until(lambda: ("1/4 turns" in screen.shown) == (columns + 40 >= 60) and "25%" in screen.shown)
        screen.resize(40)
        await screen.until(lambda: "turns" not in screen.frames[-1][-1] and len(screen.frames[-1][-1]) <= 40)


async def test_an_interrupt_leaves_the_job_running_and_the_terminal_whole(quick: Live) -> None:
    job = await quick.submit("hold")
    async with terminal(quick, "watch", job["id"]) as screen:
        await screen.until(lambda: "25%" in screen.shown)
        screen.press(b"\x03")
        assert await screen.end() == 130
    assert "Traceback" not in screen.raw
    assert screen.raw.rindex("\x1b[?25h") > screen.raw.rindex("\x1b[?25l")
    assert (await quick.job(job["id"]))["state"] == "running"


async def test_submitting_and_waiting_draws_a_bar(quick: Live) -> None:
    async with terminal(quick, "submit", "steps", "count=20", "--wait") as screen:
        assert await screen.end() == 0
    assert percents(screen.frames)
    assert screen.frames[-1][-1].startswith("completed")
    async with terminal(quick, "submit", "fail", "--wait") as screen:
        assert await screen.end() == 1


async def test_a_dumb_terminal_gets_lines_only(quick: Live, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job = await quick.submit("wait_for", args={"path": str(gate)}, delay=0.5)
    async with terminal(quick, "watch", job["id"], env={"TERM": "dumb"}) as screen:
        await screen.until(lambda: "running" in screen.shown)
        gate.touch()
        assert await screen.end() == 0
    assert "\x1b" not in screen.raw
    assert [line.split()[0] for line in screen.frames[-1]][-2:] == ["running", "completed"]


async def test_colours_are_left_out_where_they_are_not_wanted(quick: Live) -> None:
    job = await quick.until((await quick.submit("echo"))["id"], "completed")
    for env, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        async with terminal(quick, "list", env=env) as screen:
            assert await screen.end() == 0
        assert ("\x1b[32m" in screen.raw) == coloured
        assert re.search(rf"completed\s+echo\s+{job['id']}\s+default", screen.shown)


async def test_pages_for_people_show_what_matters(quick: Live) -> None:
    bad = await quick.until((await quick.submit("fail", args={"message": "burnt [bold]sugar"}))["id"], "failed")
    said = await quick.until((await quick.submit("chatty"))["id"], "completed")
    async with terminal(quick, "show", bad["id"]) as screen:
        assert await screen.end() == 0
    assert re.search(r"state\s+failed", screen.shown)
    assert 'arguments  {"message": "burnt [bold]sugar"}' in screen.shown
    assert "JobFailed: burnt [bold]sugar" in screen.shown
    async with terminal(quick, "kinds") as screen:
        assert await screen.end() == 0
    assert re.search(r"steps\s+\[count\] \[pause\]\s+Take steps, one after the other\.", screen.shown)
    async with terminal(quick, "logs", said["id"]) as screen:
        assert await screen.end() == 0
    assert re.search(r"\d\d:\d\d:\d\d WARNING line 2", screen.shown)
    done = await quick.until((await quick.submit("echo", args={"value": {"a": ["\x9b"]}}))["id"], "completed")
    async with terminal(quick, "result", done["id"]) as screen:
        assert await screen.end() == 0
    assert screen.shown.split() == ["{", '"a":', "[", '"\\x9b"', "]", "}"]
    async with terminal(quick, "show", done["id"], "--json-lines") as screen:
        assert await screen.end() == 0
    assert screen.raw.startswith('{"id":')
