"""Overview, queues, workers, schedules, errors and system in a browser: what moves by itself, what is clicked."""

import asyncio
import re

from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import Kitchen, Reader, watch
from tests.browser.test_jobs_list import at_least, row


async def test_counts_queues_errors_and_running_jobs_move_on_the_overview(reader: Reader) -> None:
    page = await reader.open("/")
    for name in ("waiting", "running", "completed", "failed"):
        await expect(page.locator(f'#board [data-count="{name}"]')).to_be_visible()
    job = reader.kitchen.submit("gate", args={"name": "overview"}, queue="shown")
    await expect(row(page, job).locator("progress")).to_have_attribute("value", "50")
    queue = page.get_by_role("row").filter(has=page.get_by_role("link", name="shown"))
    await expect(queue).to_be_visible()
    await reader.kitchen.job(reader.kitchen.submit("spill", args={"message": "on the overview"}))
    await expect(page.locator(".fault").filter(has_text="ValueError")).to_be_visible()
    await expect(page.locator('[data-count="failed"]')).not_to_have_text("0")
    reader.kitchen.open_gate("overview")
    await reader.kitchen.job(job)
    await expect(page.locator('[data-count="completed"]')).not_to_have_text("0")


async def test_each_figure_leads_to_the_jobs_that_it_counts(reader: Reader) -> None:
    await reader.kitchen.job(reader.kitchen.submit("spill"))
    page = await reader.open("/")
    await page.locator(".figure.failed a").click()
    await expect(page).to_have_url(re.compile(r"/jobs\?state=failed$"))
    await expect(page.locator("[data-job]").first).to_have_attribute("data-state", "failed")


async def test_a_chosen_range_is_in_the_address_and_survives(reader: Reader) -> None:
    page = await reader.open("/")
    await page.get_by_role("link", name="1 h", exact=True).click()
    await expect(page).to_have_url(re.compile(r"\?range=1h$"))
    await page.reload()
    await expect(page.get_by_role("link", name="1 h", exact=True)).to_have_attribute("aria-current", "true")
    await expect(page.locator("[data-canvas] canvas")).to_have_count(4)


async def test_charts_follow_and_the_open_table_says_the_same(reader: Reader) -> None:
    await reader.page.clock.install()
    page = await reader.open("/")
    await expect(page.locator("[data-canvas] canvas")).to_have_count(4)
    figure = page.locator('[data-chart="Throughput"]')
    await figure.get_by_text("As a table").click()
    times = [1_700_000_000 + 10 * n for n in range(90)]
    wire = {"charts": [{"name": "Throughput", "unit": "per_second", "times": times,
                        "series": [{"name": "completed", "look": "good", "values": [0.0] * 89 + [7.25]},
                                   {"name": "failed", "look": "bad", "values": [0.0] * 90}]}]}  # fmt: skip
    await page.route("**/charts?*", lambda route: route.fulfill(json=wire))
    before = await figure.bounding_box()
    await page.clock.fast_forward(11_000)
    await expect(figure.locator("[data-now]").first).to_have_text("7.25/s")
    await expect(figure.locator("tbody tr").first.locator("td").first).to_have_text("7.25/s")
    after = await figure.bounding_box()
    assert before is not None
    assert after is not None
    assert (after["width"], after["height"]) == (before["width"], before["height"])


async def test_a_queue_is_paused_limited_and_resumed_and_other_pages_see_it(reader: Reader, chromium: Browser) -> None:
    held = reader.kitchen.submit("nap", queue="closing", delay=3600)
    page = await reader.open("/queues/closing")
    context = await chromium.new_context()
    other = await (await watch(context, reader.kitchen)).open("/queues")
    await page.get_by_role("button", name="Pause closing").click()
    await expect(page.get_by_role("button", name="Resume closing")).to_be_visible()
    await expect(other.get_by_role("button", name="Resume closing")).to_be_visible()
    await page.get_by_label("At most so many at once").fill("2")
    await page.get_by_role("button", name="Set the limit").click()
    await expect(page.locator('[data-count="running"]').locator("..")).to_have_text("0 / 2")
    await page.get_by_label("At most so many at once").fill("none")
    await page.get_by_role("button", name="Set the limit").click()
    await expect(page.get_by_label("At most so many at once")).to_have_attribute("aria-invalid", "true")
    reader.seen.complaints.clear()  # the browser reports the 422
    await page.get_by_role("button", name="Resume closing").click()
    await expect(page.get_by_role("button", name="Pause closing")).to_be_visible()
    await page.get_by_role("link", name="Its jobs").click()
    await expect(row(page, held)).to_be_visible()
    await context.close()


async def _without_scripts(page: Page, kitchen: Kitchen) -> None:
    await page.goto(f"{kitchen.url}/queues/default")
    await page.get_by_role("button", name="Pause default").click()
    await expect(page.get_by_text("The queue is paused")).to_be_visible()
    held = kitchen.submit("nap")
    await page.get_by_role("button", name="Resume default").click()
    await kitchen.job(held)
    await page.goto(f"{kitchen.url}/workers")
    await page.get_by_role("button", name="Drain").click()
    await expect(page.get_by_role("heading", name="Drain this worker?")).to_be_visible()
    await page.get_by_role("button", name="Drain").click()
    await expect(page.get_by_text("starts nothing")).to_be_visible()
    held = kitchen.submit("nap")
    await page.get_by_role("button", name="Resume").click()
    await kitchen.job(held)
    await page.goto(f"{kitchen.url}/?range=24h")
    await expect(page.locator("[data-canvas] svg")).to_have_count(4)
    await page.locator("summary").first.click()
    await expect(page.get_by_role("table").filter(has_text="completed").first).to_be_visible()


async def test_without_scripts_queues_and_workers_are_held_and_let_go(chromium: Browser, kitchen: Kitchen) -> None:
    context = await chromium.new_context(java_script_enabled=False)
    try:
        await _without_scripts((await watch(context, kitchen)).page, kitchen)
    finally:
        await context.close()


async def test_errors_are_grouped_and_all_of_a_group_is_retried(reader: Reader) -> None:
    failed = [reader.kitchen.submit("spill", args={"message": f"pot {n} boiled over"}) for n in range(3)]
    await asyncio.gather(*(reader.kitchen.job(job) for job in failed))
    page = await reader.open("/errors")
    group = page.locator(".fault").filter(has_text="ValueError")
    await expect(group).to_have_count(1)
    before = int(await group.locator(".times span").inner_text())
    await reader.kitchen.job(reader.kitchen.submit("spill", args={"message": "pot 4 boiled over"}))
    await expect(group.locator(".times span")).to_have_text(str(before + 1))
    await group.get_by_role("link").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("ValueError")
    await expect(page.locator("#traceback")).to_contain_text("boiled over")
    await page.get_by_role("button", name=re.compile("Retry all")).click()
    await expect(page.get_by_role("button", name=re.compile("^Retry")).last).to_be_visible()


async def test_what_comes_due_stays_in_its_row(reader: Reader) -> None:
    soon, later = reader.kitchen.submit("nap", delay=3), reader.kitchen.submit("nap", delay=3000)
    page = await reader.open("/schedules")
    first = page.locator(f'[data-job="{soon}"]')
    await expect(first).to_have_attribute("data-state", "completed")
    await expect(page.locator(f'[data-job="{soon}"] ~ [data-job="{later}"]')).to_be_visible()


async def test_the_system_page_counts_the_pages_that_are_open(reader: Reader, chromium: Browser) -> None:
    page = await reader.open("/system")
    before = int(await page.locator("[data-figure=pages]").inner_text())
    context = await chromium.new_context()
    other = await watch(context, reader.kitchen)
    await other.open("/workers")
    await at_least(page.locator("[data-figure=pages]").inner_text, before + 1)
    await context.close()
