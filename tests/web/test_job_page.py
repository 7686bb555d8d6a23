"""A job's page and the page of its log over HTTP, the lines that its WebSocket sends, and the time line."""

import re
from html import unescape
from typing import Any

import httpx2
import pytest
from msgspec.structs import replace

from jalebi.events import Event
from jalebi.jobs import Cancellation, Failed, Job, State, failure
from jalebi.web import log_page
from jalebi.web.timeline import Attempt, attempts
from tests.support import Live, serving
from tests.targets.quick import quick_shop
from tests.test_jobs import a_job
from tests.web.test_live import page, shown

HTML = {"Accept": "text/html"}


@pytest.fixture
def site(quick: Live) -> httpx2.AsyncClient:
    quick.client.headers.update(HTML)
    return quick.client


async def talked(live: Live, lines: int) -> str:
    """Return the id of a job that has logged so many lines."""
    job = await live.submit("talk", args={"lines": lines})
    await live.until(job["id"])
    return str(job["id"])


def numbers(html: str) -> list[int]:
    return [int(one) for one in re.findall(r'data-line="(\d+)"', html)]


async def say(live: Live, job_id: str, level: str, message: str) -> None:
    queue = (await live.shop.open()).queue
    assert await queue.log(await queue.get(job_id), level, message)


# Over HTTP


async def test_a_page_of_the_log_leads_to_those_beside_it(quick: Live, site: httpx2.AsyncClient) -> None:
    own = f"/jobs/{await talked(quick, 1200)}"
    text = (await site.get(own)).text
    assert numbers(text) == list(range(701, 1201))
    [earlier] = re.findall(r'href="([^"]+)">Earlier lines', text)
    assert earlier == f"{own}/log?before=701"
    text = (await site.get(unescape(earlier))).text
    assert numbers(text) == list(range(201, 701))
    assert f'href="{own}/log?after=700">Later lines' in text
    assert f'href="{own}/log?after=0">Start' in text


async def test_a_page_that_asks_for_a_range_gets_a_fragment(quick: Live, site: httpx2.AsyncClient) -> None:
    own = f"/jobs/{await talked(quick, 700)}"
    answer = await site.get(f"{own}/log?before=201", headers={"Jalebi-Part": "lines"})
    assert answer.text.startswith('<div data-end="700" data-earlier="" data-later="200">')
    assert numbers(answer.text) == list(range(1, 201))
    assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_filters_stay_in_every_address_of_the_page(quick: Live, site: httpx2.AsyncClient) -> None:
    own = f"/jobs/{await talked(quick, 600)}"
    text = (await site.get(f"{own}?q=x+%26&level=info")).text
    assert f"{own}/log?after=0&level=info&q=x+%26" in unescape(text)
    assert "view=job&level=info&q=x+%26&job=" in re.sub(r"q=[^&]*&level=info", "level=info&q=x+%26", unescape(text))
    assert 'value="x &amp;"' in text


@pytest.mark.parametrize("query", ["level=loud", "before=-1", "after=x", "before=1e3"])
async def test_what_makes_no_sense_in_an_address_is_refused(quick: Live, site: httpx2.AsyncClient, query: str) -> None:
    job = await talked(quick, 1)
    assert (await site.get(f"/jobs/{job}/log?{query}")).status_code == 400


async def test_the_log_of_no_job_is_not_found_and_the_page_says_why(site: httpx2.AsyncClient) -> None:
    for path in ("/jobs/none", "/jobs/none/log", "/jobs/none/delete"):
        answer = await site.get(path)
        assert answer.status_code == 404
        assert "It may have been removed by the retention policy" in answer.text
    document = await site.get("/jobs/none", headers={"Accept": "*/*"})
    assert document.json()["type"] == "urn:jalebi:problem:not-found"


async def test_lines_that_are_not_kept_any_more_are_told_of() -> None:
    shop = quick_shop(max_log_lines=100)
    async with serving(shop, shop) as live:
        job = (await live.submit("hold"))["id"]
        await live.until(job, "running")
        for number in range(450):
            await say(live, job, "info", str(number))
        text = (await live.client.get(f"/jobs/{job}/log?after=0", headers=HTML)).text
    first = numbers(text)[0]
    assert first > 1
    assert f"The first {first - 1} lines are not kept any more." in text


async def test_the_title_says_how_far_the_job_is(quick: Live, site: httpx2.AsyncClient) -> None:
    waiting = await quick.submit("echo", delay=500)
    running = await quick.submit("hold")
    rooms = await quick.shop.open()
    await quick.until(running["id"], "running")
    await say(quick, running["id"], "info", "begun")

    async def title(job: str) -> str:
        [found] = re.findall("<title>(.*?)</title>", (await site.get(f"/jobs/{job}")).text)
        return str(found)

    assert await title(waiting["id"]) == "echo · Jalebi"
    assert re.fullmatch(r"(25 % )?hold · Jalebi", await title(running["id"]))
    await rooms.store.settle(running["id"], 1, Failed(failure("E", "no"), retry=False), None)
    assert await title(running["id"]) == "✗ hold · Jalebi"


# Over the WebSocket


async def test_lines_that_do_not_match_are_counted_only(quick: Live) -> None:
    job = (await quick.submit("hold"))["id"]
    await quick.until(job, "running")
    word = await shown(quick, f"/jobs/{job}?level=warning")
    async with page(quick, f"view=job&job={job}&level=warning", **word) as listener:
        await listener.frame("hello")
        for level, message in (("info", "one"), ("debug", "two"), ("warning", "three")):
            await say(quick, job, level, message)
        html = await listener.html("three")
        sent = "".join(frame.get("content", "") for frame in listener.frames)
        assert numbers(html) == [3]
        assert sum(map(int, re.findall(r'data-others="(\d+)"', sent))) == 2
        assert "one</span>" not in sent


async def test_of_many_missed_lines_only_the_newest_come_with_a_mark(quick: Live) -> None:
    word = await shown(quick, "/jobs")
    job = await talked(quick, 700)
    async with page(quick, f"view=job&job={job}", **word | {"line": 100}) as listener:
        html = await listener.html("gap")
    assert numbers(html) == list(range(501, 701))
    assert '<p class="gap" data-after="100" data-before="501">400 lines are left out here.' in html
    assert f'href="/jobs/{job}/log?after=100&amp;before=501"' in html


async def test_where_a_filter_holds_the_mark_does_not_guess_how_many(quick: Live) -> None:
    word = await shown(quick, "/jobs")
    job = await talked(quick, 700)
    async with page(quick, f"view=job&job={job}&q=x", **word | {"line": 100}) as listener:
        assert "Lines are left out here." in await listener.html("gap")


# What is shown of a line


@pytest.mark.parametrize(
    ("message", "seen"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[38;5;208;1mbold\x1b[K", "bold"),
        ("\x9b1mc1\x9b0m", "c1"),
        ("\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x07", "link"),
        ("\x1b(Bcharset\x1b=", "charset"),
        ("a\r\nb\rc\td", "a\nb\nc\td"),
        ("\x00\x07\x7f\x85", "\\x00\\x07\\x7f\\x85"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("half an order \x1b[3", "half an order \\x1b[3"),
        ("über 🍥 ☃", "über 🍥 ☃"),
        ("y" * 4001, "y" * 4000 + "… (1 more characters)"),
    ],
)
def test_a_line_is_shown_as_plain_text(message: str, seen: str) -> None:
    assert log_page.plain(message) == seen


# The time line


def way(*steps: tuple[str, float, dict[str, Any]]) -> tuple[Job, list[Event]]:
    """Return the job at the end of a way, and its moves; the attempt's number is kept."""
    job, found = a_job(state=State.QUEUED, created_at=100.0), []
    states = {"created": "queued", "started": "running"}
    for number, (type_, at, changes) in enumerate(steps, 1):
        attempt = job.attempt + (type_ == "started")
        job = replace(job, seq=number, state=State(states.get(type_, type_)), attempt=attempt, **changes)
        found.append(Event(number, type_, at, job))
    return job, found


def drawn(job: Job, moves: list[Event], now: float = 200.0) -> list[Attempt]:
    found = attempts(job, moves, now)
    for one in found:
        for span in (one.wait, one.run):
            assert 0 <= span.x <= span.x + span.width <= 1000
    return found


def test_each_attempt_has_its_wait_its_run_and_its_error() -> None:
    first, second = {"error": failure("E", "one\ntwo", "trace")}, {"error": failure("F", "")}
    job, moves = way(
        ("created", 100, {}),
        ("started", 102, {}),
        ("retrying", 110, {"run_at": 115.0, **first}),
        ("queued", 115, {"run_at": None}),
        ("started", 116, {}),
        ("failed", 120, second),
    )
    one, two = drawn(job, moves)
    assert (one.number, one.how, one.waited, one.ran, one.retry_at, one.fault) == (1, "retrying", 2, 8, 115, "E: one")
    assert (two.number, two.how, two.waited, two.ran, two.retry_at, two.fault) == (2, "failed", 6, 4, None, "F")
    assert (one.wait.x, one.wait.width, one.run.width) == (0, 100, 400)
    assert (two.wait.x, two.wait.width, two.run.x, two.run.width) == (500, 300, 800, 200)


def test_a_manual_retry_begins_to_wait_when_it_was_asked_for() -> None:
    job, moves = way(
        ("created", 100, {}), ("started", 100, {}), ("completed", 110, {}), ("queued", 9000, {}), ("started", 9001, {})
    )
    one, two = drawn(job, moves, now=9010.0)
    assert (one.how, two.how, two.waited, two.ran) == ("completed", "running", 1, None)
    assert two.run.width > 300


def test_an_attempt_that_is_handed_back_is_no_failure() -> None:
    job, moves = way(("created", 100, {}), ("started", 101, {}), ("queued", 105, {}))
    one, two = drawn(job, moves)
    assert (one.how, one.ran, one.fault) == ("handed-back", 4, "")
    assert (two.how, two.since, two.waited) == ("waiting", 105, None)


def test_a_job_that_is_cancelled_in_line_was_never_started() -> None:
    old = {"error": failure("E", "of the attempt before")}
    receipts = {"cancellation": Cancellation(107.0, stopped_at=107.0)}
    job, moves = way(
        ("created", 100, {}),
        ("started", 101, {}),
        ("retrying", 102, {"run_at": 150.0, **old}),
        ("cancelled", 107, receipts),
    )
    _, two = drawn(job, moves)
    assert (two.number, two.how, two.started_at, two.waited, two.error) == (2, "cancelled", None, 5, None)
    assert [step.name for step in two.receipts] == ["requested", "stopped"]


def test_a_cancelled_attempt_has_its_receipts_and_its_reason() -> None:
    asked, heard = Cancellation(105.0), Cancellation(105.0, 105.1, 105.2, stopped_at=106.0)
    reason = failure("Cancelled", "too sweet")
    job, moves = way(
        ("created", 100, {}),
        ("started", 101, {}),
        ("cancelling", 105, {"cancellation": asked, "error": reason}),
        ("cancelled", 106, {"cancellation": heard}),
    )
    [one] = drawn(job, moves)
    assert (one.how, one.ran, one.fault) == ("cancelled", 5, "Cancelled: too sweet")
    assert [step.after for step in one.receipts] == ["", "+100 ms", "+200 ms", "+1.0 s"]


def test_a_way_whose_beginning_is_gone_still_has_a_line() -> None:
    job, moves = way(("created", 100, {}), ("started", 101, {}), ("completed", 105, {}))
    [one] = drawn(job, moves[1:])
    assert (one.waited, one.ran) == (None, 4)
    assert drawn(job, []) == []
