"""The client's commands as processes with pipes: exit codes, JSON lines, and one sentence for what went wrong."""

import asyncio
import io
import json
import os
import sys
from pathlib import Path

import pytest
from rich.console import Console

from jalebi.client import Client
from jalebi.commands.showing import job_table
from jalebi.settings import Settings
from tests.commands.running import environment, run
from tests.support import Live, serving
from tests.targets.quick import quick_shop


async def test_a_submission_prints_the_job_as_the_server_sent_it(quick: Live) -> None:
    done = await run(
        quick, "submit", "steps", "count=2", "--tag", "a", "--tag=b", "pause=0.01", "--priority", "3",
        "--timeout", "60", "--max-attempts", "2",
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    [job] = done.lines
    assert (job["args"], job["tags"], job["priority"], job["timeout"], job["max_attempts"]) == (
        {"count": 2, "pause": 0.01}, ["a", "b"], 3, 60, 2,
    )  # fmt: skip
    over = await quick.until(job["id"], "completed")
    assert (await run(quick, "show", job["id"])).lines == [over]
    assert (await run(quick, "result", job["id"])).lines == [2]


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["value=3"], 3),
        (["value=true"], True),
        (["value=Q3"], "Q3"),
        (['value="3"'], "3"),
        (["value="], ""),
        (["value=a=b"], "a=b"),
        (["value=NaN"], "NaN"),
        (['value={"a": [1]}'], {"a": [1]}),
        (["--json", '{"value": 1}'], 1),
        (["--json", '{"value": 1}', "value=2"], 2),
        (["--json", "-"], "from standard input"),
        (["--json", "@args.json"], "from a file"),
    ],
)
async def test_arguments_are_json_where_they_are_json(idle: Live, words: list[str], value: object) -> None:
    Path("args.json").write_text('{"value": "from a file"}')
    done = await run(idle, "submit", "echo", *words, stdin=b'{"value": "from standard input"}')
    assert done.err == ""
    assert done.lines[0]["args"] == {"value": value}


async def test_waiting_exits_as_the_job_ends(quick: Live) -> None:
    done = await run(quick, "submit", "steps", "--wait", "count=2")
    assert (done.code, [job["state"] for job in done.lines]) == (0, ["completed"])
    done = await run(quick, "submit", "fail", "message=burnt", "--wait")
    assert (done.code, done.lines[0]["error"]["message"]) == (1, "burnt")
    held = await quick.submit("hold")
    watching = asyncio.ensure_future(run(quick, "watch", held["id"]))
    await quick.until(held["id"], "running")
    done = await run(quick, "cancel", held["id"], "--reason", "no sugar")
    assert (done.code, done.lines[0]["id"]) == (0, held["id"])
    done = await watching
    assert (done.code, done.lines[-1]["type"]) == (3, "cancelled")
    assert (await run(quick, "retry", held["id"])).lines[0]["id"] == held["id"]


async def test_watching_prints_every_event_as_the_server_sent_it(quick: Live) -> None:
    job = await quick.submit("chatty")
    done = await run(quick, "watch", job["id"])
    assert done.code == 0
    page = (await quick.client.get(job["links"]["events"])).json()["events"]
    assert [line for line in done.lines if line["type"] != "progress"] == page


async def test_the_worst_end_of_several_jobs_is_that_of_all(quick: Live) -> None:
    good = await quick.submit("echo")
    bad = await quick.submit("fail")
    held = await quick.submit("hold", delay=3600)
    await quick.client.post(f"/v1/jobs/{held['id']}/cancel")
    ids = {name: job["id"] for name, job in {"good": good, "bad": bad, "held": held}.items()}
    assert (await run(quick, "watch", ids["good"], "--json-lines", ids["held"])).code == 3
    assert (await run(quick, "watch", ids["held"], ids["bad"], ids["good"])).code == 1
    done = await run(quick, "watch", ids["good"], "nothing")
    assert (done.code, done.err) == (2, "jalebi: nothing: There is no job nothing.\n")
    assert done.lines[-1]["type"] == "completed"


async def test_results_of_jobs_without_one_exit_like_the_job(quick: Live) -> None:
    failed = await quick.submit("fail", args={"message": "burnt\x1b[2J\nsugar"})
    await quick.until(failed["id"], "failed")
    done = await run(quick, "result", failed["id"])
    assert (done.code, done.out) == (1, "")
    assert done.err == "jalebi: The job failed: burnt\\x1b[2J sugar\n"
    held = await quick.submit("hold", delay=3600)
    done = await run(quick, "result", held["id"])
    assert (done.code, done.err) == (2, "jalebi: The job is scheduled.\n")
    await quick.client.post(f"/v1/jobs/{held['id']}/cancel")
    done = await run(quick, "result", held["id"])
    assert (done.code, done.err) == (3, "jalebi: The job was cancelled, so it has no result.\n")
    assert (await run(quick, "cancel", failed["id"])).code == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["submit", "nothing"], "There is no kind 'nothing'."),
        (["submit", "steps", "count=many"], "/args/count: Input should be a valid integer"),
        (["submit", "steps", "count"], "'count' is not key=value."),
        (["submit", "steps", "--json", "[1]"], "What --json gives must be a JSON object."),
        (["submit", "steps", "--json", "{"], "What --json gives is not JSON"),
        (["submit", "steps", "--json", "@nothing"], "nothing can't be read: No such file or directory."),
        (["show", "nothing"], "There is no job nothing."),
        (["show", "x", "--url", "sweets"], "The address 'sweets' is not an address like http://127.0.0.1:8000."),
    ],
)
async def test_what_can_not_be_done_is_said_in_one_sentence(idle: Live, words: list[str], sentence: str) -> None:
    done = await run(idle, *words)
    assert (done.code, done.out) == (2, "")
    [line] = done.err.splitlines()
    assert line.startswith(f"jalebi: {sentence}")


@pytest.mark.parametrize("words", ["show", "frobnicate", "show x y", "submit x --nope", "list --state x", "watch"])
async def test_wrong_usage_exits_with_2(words: str) -> None:
    done = await run(None, *words.split())
    assert done.code == 2
    assert "usage: jalebi" in done.err


@pytest.mark.parametrize("words", [["show", "x"], ["watch", "x"], ["submit", "x", "--wait"], ["logs", "x", "--follow"]])
async def test_a_server_that_is_not_there_exits_with_4(words: list[str]) -> None:
    done = await run(None, *words, "--url", "http://127.0.0.1:9")
    assert (done.code, done.out) == (4, "")
    [line] = done.err.splitlines()
    assert line.startswith("jalebi: ")
    assert "can't be reached: " in line


async def test_the_token_comes_from_a_flag_or_the_environment() -> None:
    shop = quick_shop(token="sugar")
    async with serving(shop, shop) as live:
        done = await run(live, "kinds")
        assert (done.code, done.err) == (2, "jalebi: Send the token as `Authorization: Bearer TOKEN`.\n")
        for words, env in ((["--token", "sugar"], None), ([], {"JALEBI_TOKEN": "sugar"})):
            done = await run(live, "kinds", *words, env=env)
            assert (done.code, done.lines[0]["name"]) == (0, "chatty")


async def test_lists_are_lines_and_filters_narrow_them(idle: Live) -> None:
    jobs = [await idle.submit("echo", args={"value": n}, tags=[f"tag{n}"]) for n in range(3)]
    assert [line["id"] for line in (await run(idle, "list")).lines] == [job["id"] for job in reversed(jobs)]
    assert [line["id"] for line in (await run(idle, "list", "--tag", "tag1")).lines] == [jobs[1]["id"]]
    assert len((await run(idle, "list", "--limit", "2", "--state", "queued", "--kind", "echo")).lines) == 2
    assert len((await run(idle, "list", "--limit", "0", "-q", "tag")).lines) == 3
    assert (await run(idle, "list", "--queue", "none")).out == ""


async def test_logs_are_followed_until_the_end(quick: Live, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job = await quick.submit("talk", args={"lines": 3, "after": str(gate)})
    following = asyncio.ensure_future(run(quick, "logs", job["id"], "--follow"))
    await quick.until(job["id"], "running")
    gate.touch()
    done = await following
    assert (done.code, [line["line"] for line in done.lines]) == (0, [1, 2, 3])
    assert (await run(quick, "logs", job["id"], "--after", "2")).lines == done.lines[2:]


async def test_nobody_who_reads_is_no_reason_to_complain(idle: Live) -> None:
    for _ in range(3):
        await idle.submit("echo", args={"value": "x" * 100_000})
    reading, writing = os.pipe()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "jalebi", "list", stdout=writing, stderr=asyncio.subprocess.PIPE, env=environment(idle)
    )
    os.close(writing)
    os.close(reading)
    _, err = await process.communicate()
    assert (process.returncode, err) == (141, b"")


async def completed(live: Live, line: str) -> list[str]:
    """Return what a shell offers after a line."""
    answer = Path("completions")
    env = {
        "_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "COMP_TYPE": "9",
    }  # fmt: skip
    await run(live, env=env)
    return [word.strip() for word in answer.read_text().split("\n")]


async def test_a_shell_completes_commands_kinds_arguments_and_ids(quick: Live) -> None:
    assert {"submit", "serve", "show"} <= set(await completed(quick, "jalebi s"))
    assert await completed(quick, "jalebi submit st") == ["steps"]
    assert set(await completed(quick, "jalebi submit steps ")) >= {"count=", "pause="}
    held = await quick.submit("hold")
    await quick.until(held["id"], "running")
    over = await quick.until((await quick.submit("echo"))["id"], "completed")
    assert await completed(quick, "jalebi cancel 0") == [held["id"]]
    assert await completed(quick, "jalebi retry 0") == [over["id"]]
    assert set(await completed(quick, "jalebi show 0")) == {held["id"], over["id"]}


async def test_completion_without_a_server_offers_nothing(quick: Live) -> None:
    nobody = Live(quick.shop, "http://127.0.0.1:9", quick.client)
    assert await completed(nobody, "jalebi submit st") == [""]


async def test_json_lines_are_valid_whatever_a_job_holds(idle: Live) -> None:
    value = "\u2028 ☃ \x9b \ud7ff \x1b"
    job = await idle.submit("echo", args={"value": value})
    done = await run(idle, "show", job["id"])
    assert json.loads(done.out.rstrip("\n"))["args"] == {"value": value}
    assert done.out.count("\n") == 1


async def test_the_server_is_found_by_the_file_that_the_server_reads_too(quick: Live) -> None:
    Path(".env").write_text(f"JALEBI_URL={quick.url}\nJALEBI_TOKEN=unused\n")
    assert Settings().url == quick.url  # and no server stumbles over it
    job = await quick.submit("echo")
    assert [one["id"] for one in (await run(None, "list")).lines] == [job["id"]]


@pytest.mark.parametrize("width", [80, 120])
async def test_a_list_never_cuts_an_id_or_a_state(quick: Live, width: int) -> None:
    job = await quick.submit("odd:name.of-a_kind")
    await quick.until(job["id"], "completed")
    with Client(quick.url) as client:
        jobs = await asyncio.to_thread(lambda: list(client.list()))
    console = Console(width=width, file=io.StringIO())
    console.print(job_table(jobs, width))
    head, shown = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert shown.startswith("completed ")
    assert job["id"] in shown
    assert ("QUEUE" in head) is (width == 120)
