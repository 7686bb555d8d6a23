"""The list of jobs in a real browser: bars that move, rows that change in place, filters, pages, new jobs."""

import re
from collections.abc import Awaitable, Callable

from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import Reader


def row(page: Page, job_id: str) -> Locator:
    return page.locator(f'[data-job="{job_id}"]')


async def moved(bar: Locator, times: int) -> list[float]:
    """Return the values that a bar takes one after the other, once it has taken so many."""
    seen: list[float] = []
    while len(seen) < times:
        value = float(await bar.get_attribute("value") or 0)
        if not seen or value != seen[-1]:
            seen.append(value)
    return seen


def state(name: str) -> re.Pattern[str]:
    return re.compile(f"^{name}$")


async def test_a_bar_moves_without_a_reload_and_without_asking(reader: Reader) -> None:
    job = reader.kitchen.submit("stir", args={"title": "moving"})
    page = await reader.open("/jobs")
    bar = row(page, job).locator("progress")
    await expect(bar).to_have_attribute("aria-label", f"Progress of stir {job}")
    await expect(bar).to_have_attribute("value", re.compile(r"\d"))
    asked = len(reader.seen.requests)
    values = await moved(bar, 6)
    assert values == sorted(values)
    assert reader.seen.requests[asked:] == []


async def test_a_row_says_when_its_job_ends_and_stays_where_it_is(reader: Reader) -> None:
    older = reader.kitchen.submit("nap", args={"seconds": 0})
    job = reader.kitchen.submit("gate", args={"name": "row-ends"})
    page = await reader.open("/jobs?state=running")
    await expect(row(page, older)).to_have_count(0)
    await expect(row(page, job)).to_have_attribute("data-state", "running")
    reader.kitchen.open_gate("row-ends")
    await expect(row(page, job)).to_have_attribute("data-state", "completed")
    await expect(row(page, job).locator("progress")).to_have_attribute("value", "100")
    await expect(row(page, job).locator(".badge")).to_have_text("completed")


async def test_a_job_that_waits_is_seen_to_start_and_fail(reader: Reader) -> None:
    reader.kitchen.submit("nap", queue="held", delay=3600)  # a queue is there once it has a job
    with reader.kitchen.api() as client:
        assert client.post("/v1/queues/held/pause").status_code == 200
        job = reader.kitchen.submit("spill", queue="held")
        page = await reader.open("/jobs")
        await expect(row(page, job)).to_have_attribute("data-state", "queued")
        client.post("/v1/queues/held/resume")
    await expect(row(page, job)).to_have_attribute("data-state", "failed")
    await expect(row(page, job)).to_contain_text("it <b>spilled</b>")


async def test_filters_survive_a_reload_and_paging(reader: Reader) -> None:
    for number in range(53):
        reader.kitchen.submit("nap", tags=["paged", f"number:{number}"])
    await reader.open("/jobs?tag=paged&kind=nap")
    page = reader.page
    await expect(page.locator("[data-job]")).to_have_count(50)
    await page.get_by_role("link", name="Older").click()
    await expect(page.locator("[data-job]")).to_have_count(3)
    await page.reload()
    await expect(page.locator("[data-job]")).to_have_count(3)
    await expect(page.get_by_label("Tag")).to_have_value("paged")
    await expect(page.get_by_label("Kind")).to_have_value("nap")
    await page.get_by_role("link", name="Newest").click()
    await expect(page.locator("[data-job]")).to_have_count(50)
    await page.get_by_label("Search").fill("number:52")
    await page.get_by_role("button", name="Apply").click()
    await expect(page.locator("[data-job]")).to_have_count(1)
    await expect(page).to_have_url(re.compile("tag=paged.*"))
    await page.get_by_role("link", name="Completed").click()
    await expect(page.get_by_label("Search")).to_have_value("number:52")


async def test_new_jobs_are_announced_and_shown_on_demand(reader: Reader) -> None:
    first = reader.kitchen.submit("nap", tags=["announced"])
    page = await reader.open("/jobs?tag=announced")
    reader.kitchen.submit("nap", tags=["somewhere else"])
    second = reader.kitchen.submit("nap", tags=["announced"])
    third = reader.kitchen.submit("nap", tags=["announced"])
    pill = page.locator("#pill")
    await expect(pill).to_have_text("2 new jobs — show")
    await expect(row(page, second)).to_have_count(0)
    await pill.click()
    await expect(page.locator("[data-job]")).to_have_count(3)
    await expect(pill).to_be_hidden()
    for job in (first, second, third):
        await expect(row(page, job)).to_have_attribute("data-state", "completed")
    fourth = reader.kitchen.submit("nap", tags=["announced"])
    await expect(pill).to_have_text("1 new job — show")
    await pill.click()
    await expect(row(page, fourth)).to_have_count(1)


async def test_an_empty_list_shows_its_first_job_by_itself(reader: Reader) -> None:
    page = await reader.open("/jobs?tag=the-first")
    await expect(page.get_by_role("heading", name="No jobs tagged the-first")).to_be_visible()
    job = reader.kitchen.submit("stir", tags=["the-first"])
    await moved(row(page, job).locator("progress"), 3)


async def test_a_button_in_the_list_cancels_and_keeps_the_filters(reader: Reader) -> None:
    job = reader.kitchen.submit("stir", tags=["to-cancel"])
    page = await reader.open("/jobs?tag=to-cancel&queue=reports")
    await row(page, job).get_by_role("button", name="Cancel").click()
    await expect(row(page, job)).to_have_attribute("data-state", "cancelled")
    await expect(page).to_have_url(re.compile(r"/jobs\?tag=to-cancel&queue=reports$"))


async def test_counts_follow_on_the_overview_and_finished_jobs_leave_it(reader: Reader) -> None:
    job = reader.kitchen.submit("gate", args={"name": "overview"})
    page = await reader.open("/")
    await expect(row(page, job).locator("progress")).to_have_attribute("value", "50")
    before = int((await page.locator('[data-count="completed"]').inner_text()).replace(",", ""))
    reader.kitchen.open_gate("overview")
    await expect(row(page, job)).to_have_attribute("data-state", "completed")
    await at_least(page.locator('[data-count="completed"]').inner_text, before + 1)


async def at_least(read: Callable[[], Awaitable[str]], least: int) -> None:
    while int((await read()).replace(",", "")) < least:
        pass


async def test_what_a_reader_does_in_the_list_is_not_disturbed(reader: Reader) -> None:
    job = reader.kitchen.submit("stir", tags=["undisturbed"])
    page = await reader.open("/jobs?tag=undisturbed")
    link = row(page, job).get_by_role("link")
    await link.focus()
    await page.get_by_label("Search").fill("half a wo")
    await link.focus()
    await moved(row(page, job).locator("progress"), 4)
    with reader.kitchen.api() as client:
        client.post(f"/v1/jobs/{job}/cancel")
    await expect(row(page, job)).to_have_attribute("data-state", "cancelled")
    await expect(link).to_be_focused()
    await expect(page.get_by_label("Search")).to_have_value("half a wo")


async def test_filters_survive_a_cut_and_what_changed_meanwhile_pales(reader: Reader) -> None:
    job = reader.kitchen.submit("nap", tags=["cut"], delay=3600)
    page = await reader.open("/jobs?tag=cut&state=scheduled")
    await page.evaluate("live.hangUp()")
    with reader.kitchen.api() as client:
        client.post(f"/v1/jobs/{job}/cancel")
    reader.kitchen.submit("nap", tags=["elsewhere"], delay=3600)
    reader.kitchen.submit("nap", tags=["cut"], delay=3600)
    await page.evaluate("live.remount()")
    await expect(row(page, job)).to_have_attribute("data-unmatched", "")
    await expect(page.locator("#pill")).to_have_text("1 new job — show")
    await expect(page.get_by_label("Tag")).to_have_value("cut")


async def test_chips_name_the_filters_and_each_takes_its_own_away(reader: Reader) -> None:
    job = reader.kitchen.submit("nap", tags=["chip-one", "chip-two"], delay=3600)
    page = await reader.open("/jobs?tag=chip-one&tag=chip-two&kind=nap&state=scheduled")
    chips = page.get_by_role("list", name="Filters").locator(".chosen")
    await expect(chips).to_have_count(3)
    await page.get_by_role("link", name="tag chip-one").click()
    await expect(chips).to_have_count(2)
    await expect(page).to_have_url(re.compile(r"/jobs\?tag=chip-two&kind=nap&state=scheduled$"))
    await expect(row(page, job)).to_be_visible()
    await page.get_by_role("link", name="Clear all").click()
    await expect(page).to_have_url(re.compile("/jobs$"))
    await expect(chips).to_have_count(0)


async def test_a_time_is_chosen_by_a_link_or_by_the_clock_in_utc(reader: Reader) -> None:
    job = reader.kitchen.submit("nap", tags=["timely"], delay=3600)
    page = await reader.open("/jobs?tag=timely")
    await page.locator("#when-filter summary").click()
    await page.get_by_role("link", name="last 15 min").click()
    await expect(page.get_by_role("link", name=re.compile("^after .* UTC"))).to_be_visible()
    await expect(row(page, job)).to_be_visible()
    await page.get_by_label("From (UTC)").fill("2001-02-03T04:05")
    await page.get_by_label("To (UTC)").fill("2001-02-03T05:06")
    await page.get_by_role("button", name="Apply").click()
    await expect(page.get_by_role("link", name="after 2001-02-03 04:05 UTC")).to_be_visible()
    await expect(page.get_by_role("link", name="before 2001-02-03 05:06 UTC")).to_be_visible()
    await expect(row(page, job)).to_have_count(0)
    await expect(page.get_by_label("Tag")).to_have_value("timely")


#: The height of what answers to a finger on an element, from its middle up and down.
HIT = """element => {
    element.scrollIntoView({block: "center"});
    const box = element.getBoundingClientRect(), x = box.left + box.width / 2, middle = box.top + box.height / 2;
    const hits = (y) => { const at = document.elementFromPoint(x, y); return at === element || element.contains(at); };
    let top = middle, bottom = middle;
    while (hits(top - 1)) top--;
    while (hits(bottom + 1)) bottom++;
    return Math.ceil(bottom - top + 1);
}"""


async def test_on_a_phone_the_filters_are_folded_and_counted_and_targets_are_large(reader: Reader) -> None:
    job = reader.kitchen.submit("nap", tags=["phone"], delay=3600)
    await reader.page.set_viewport_size({"width": 390, "height": 844})
    page = await reader.open("/jobs?tag=phone&kind=nap")
    fold = page.locator("#fold > summary")
    await expect(fold).to_have_text("Filters (2)")
    await expect(page.get_by_label("Tag")).to_be_hidden()
    await fold.click()
    await expect(page.get_by_label("Tag")).to_have_value("phone")
    for part in (".picker", "button", ".what a"):
        size = await row(page, job).locator(part).first.evaluate(HIT)
        assert size >= 44, (part, size)
    await reader.page.set_viewport_size({"width": 1280, "height": 900})
    await expect(fold).to_be_hidden()


async def test_new_jobs_are_said_at_most_once_in_ten_seconds(reader: Reader) -> None:
    await reader.page.clock.install()
    reader.kitchen.submit("nap", tags=["said-new"], delay=3600)
    page = await reader.open("/jobs?tag=said-new")
    said, pill = page.locator("#say"), page.locator("#pill")
    reader.kitchen.submit("nap", tags=["said-new"], delay=3600)
    await expect(said).to_have_text("1 new job")
    for number in (2, 3):
        reader.kitchen.submit("nap", tags=["said-new"], delay=3600)
        await expect(pill).to_have_text(f"{number} new jobs — show")
    await page.clock.fast_forward(10_000)
    await expect(said).to_have_text("3 new jobs")
