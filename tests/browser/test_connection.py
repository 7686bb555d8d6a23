"""A connection that is lost is shown, heals by itself, and then the page shows the truth."""

import asyncio
import os
import random
import re
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.browser.conftest import Kitchen, Reader, watch
from tests.browser.test_jobs_list import moved, row

PATIENCE = 30_000


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Kitchen]:
    """A server of the test's own, to be killed."""
    made = Kitchen(tmp_path, "--database", "sqlite:///jobs.db")
    yield made
    made.process.close()


@pytest.fixture
async def far(chromium: Browser, own: Kitchen) -> AsyncIterator[Reader]:
    """A page that may complain of a server that is gone."""
    context = await chromium.new_context(viewport={"width": 1280, "height": 900})
    yield await watch(context, own)
    await context.close()


async def test_a_killed_server_is_shown_and_after_its_restart_the_truth_is(far: Reader, own: Kitchen) -> None:
    ends = own.submit("gate", args={"name": "ends"})
    goes = own.submit("stir", args={"turns": 5000})
    gone = own.submit("nap", delay=500)
    page = await far.open("/jobs")
    await moved(row(page, goes).locator("progress"), 2)
    chip, port = page.locator("[data-live]"), own.port
    own.process.stop(signal.SIGKILL)
    await expect(chip).not_to_have_attribute("data-live", "live")
    own.open_gate("ends")
    own.process.close()
    await asyncio.to_thread(own.start, port)
    with own.api() as client:
        client.delete(f"/v1/jobs/{gone}")
    await own.job(ends)
    own.submit("nap")
    await expect(chip).to_have_attribute("data-live", "live", timeout=PATIENCE)
    await expect(row(page, ends)).to_have_attribute("data-state", "completed")
    await expect(page.locator("#pill")).to_have_text("1 new job — show")
    await expect(row(page, gone)).to_have_count(0)
    await moved(row(page, goes).locator("progress"), 3)


async def test_a_connection_that_is_only_silent_is_noticed_and_replaced(far: Reader, own: Kitchen) -> None:
    job = own.submit("stir", args={"turns": 5000})
    page = await far.open(f"/jobs/{job}")
    chip = page.locator("[data-live]")
    os.kill(own.process.process.pid, signal.SIGSTOP)
    try:
        await expect(chip).to_have_attribute("data-live", "reconnecting", timeout=PATIENCE)
        await expect(chip).to_have_attribute("data-live", "stale", timeout=PATIENCE)
        await expect(page.get_by_role("alert")).to_contain_text("Not connected since")
    finally:
        os.kill(own.process.process.pid, signal.SIGCONT)
    await expect(chip).to_have_attribute("data-live", "live", timeout=PATIENCE)
    await expect(page.get_by_role("alert")).to_be_hidden()
    await moved(row(page, job).locator("progress"), 3)
    lines = await page.locator("#log [data-line]").evaluate_all("all => all.map(one => +one.dataset.line)")
    assert lines == list(range(lines[0], lines[0] + len(lines)))


async def test_a_server_with_another_database_makes_the_page_start_over(chromium: Browser, tmp_path: Path) -> None:
    own = Kitchen(tmp_path, "--database", "sqlite://")
    context = await chromium.new_context()
    try:
        job = own.submit("nap")
        page = await (await watch(context, own)).open("/jobs?kind=nap&queue=default")
        await expect(row(page, job)).to_have_attribute("data-state", "completed")
        port = own.port
        own.process.stop(signal.SIGKILL)
        own.process.close()
        await asyncio.to_thread(own.start, port)
        await expect(page.get_by_role("heading", name="No jobs of kind nap")).to_be_visible(timeout=PATIENCE)
        await expect(page.locator("[data-live]")).to_have_attribute("data-live", "live", timeout=PATIENCE)
        own.submit("stir", args={"turns": 1})
        new = own.submit("nap")
        await expect(row(page, new)).to_have_attribute("data-state", "completed")
        await expect(page.locator("[data-list] [data-job]")).to_have_count(1)  # the filters are still there
        await expect(page).to_have_url(re.compile(r"/jobs\?kind=nap&queue=default$"))
    finally:
        await context.close()
        own.process.close()


async def test_jobs_that_were_announced_are_still_counted_after_a_cut(reader: Reader) -> None:
    page = await reader.open("/jobs?tag=counted")
    old = reader.kitchen.submit("nap", tags=["counted"])  # the list is empty: it is shown at once
    await expect(row(page, old)).to_have_attribute("data-state", "completed")
    pill = page.locator("#pill")
    for number in range(1, 4):
        reader.kitchen.submit("nap", tags=["counted"])
        reader.kitchen.submit("nap", tags=["other"])
        await expect(pill).to_have_text(f"{number} new job{'s' if number > 1 else ''} — show")
        await page.evaluate(CUT, "remount")
        await expect(page.locator("[data-live]")).to_have_attribute("data-live", "live")
    await pill.click()
    await expect(page.locator("[data-list] [data-job]")).to_have_count(4)


CUT = """how => {
    if (how === "remount") { live.hangUp(); live.remount(); }
    else document.querySelector("#live")._htmx.ws.connection.socket?.close();
}"""
SHOWN = """rows => rows.map(row => [row.dataset.job, row.dataset.state, +row.dataset.v])"""


async def test_after_a_hundred_cuts_at_random_every_row_is_right(reader: Reader) -> None:
    chance = random.Random(11)
    jobs = [
        reader.kitchen.submit("nap", args={"seconds": number % 40 / 10}, tags=["dropped"]) for number in range(45)
    ] + [reader.kitchen.submit("spill", delay=number / 4, tags=["dropped"]) for number in range(5)]
    page = await reader.open("/jobs?tag=dropped")
    chip = page.locator("[data-live]")
    for number in range(100):
        # Most by a new socket at once, in whatever moment of the old one; some as a network does it.
        await page.evaluate(CUT, "close" if number % 12 == 0 else "remount")
        if chance.random() < 0.5:
            await expect(chip).to_have_attribute("data-live", "live")
        if number % 10 == 5:
            with reader.kitchen.api() as client:
                client.post(f"/v1/jobs/{chance.choice(jobs)}/{chance.choice(['cancel', 'retry'])}")
    truth = {}
    for job in jobs:
        found = await reader.kitchen.job(job)
        truth[job] = (found["state"], found["seq"])
    for job, (state, _) in truth.items():
        await expect(row(page, job)).to_have_attribute("data-state", state)
    shown = await page.locator("[data-list] [data-job]").evaluate_all(SHOWN)
    assert {job: (state, version) for job, state, version in shown} == truth
    assert [job for job, _, _ in shown] == jobs[::-1]
    # A socket that is cut before it is there is told of by the browser, and by nobody else.
    cut = ("before the connection", "htmx:ws:error")
    reader.seen.complaints[:] = [one for one in reader.seen.complaints if not any(part in one for part in cut)]
