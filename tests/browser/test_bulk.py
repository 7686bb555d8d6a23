"""Selections and bulk actions in a real browser: the bar, the dialog, the job that does it; also without scripts."""

from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import Kitchen, Reader
from tests.browser.test_axe import serious


async def picked(page: Page, jobs: list[str]) -> None:
    """Check the boxes of some jobs."""
    for job in jobs:
        await page.locator(f'.pick[value="{job}"]').check()


def waiting(kitchen: Kitchen, count: int, tag: str) -> list[str]:
    return [kitchen.submit("nap", tags=[tag], delay=3600) for _ in range(count)]


async def test_a_selection_is_cancelled_after_a_question_and_a_bar_shows_how_far_it_is(reader: Reader) -> None:
    first, second, third, left = waiting(reader.kitchen, 4, "bulk-some")
    page = await reader.open("/jobs?tag=bulk-some")
    bar = page.locator(".bulkbar")
    await expect(bar).to_be_hidden()
    await picked(page, [first, second, third])
    await expect(bar).to_be_visible()
    await expect(bar.locator("[data-selected]")).to_have_text("3 selected")
    await bar.get_by_role("button", name="Cancel").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_role("heading")).to_have_text("Cancel 3 jobs?")
    await dialog.get_by_role("link", name="Leave them").click()
    await expect(dialog).to_have_count(0)
    await expect(page.locator(f'.pick[value="{first}"]')).to_be_checked()  # and nothing was done
    await bar.get_by_role("button", name="Cancel").click()
    await page.get_by_role("button", name="Cancel 3 jobs").click()
    top = page.locator("#top-of-job")
    await expect(top).to_have_attribute("data-state", "completed")
    await expect(page.locator("#done")).to_contain_text("Started")
    await expect(page.locator("#outcome")).to_contain_text('"changed": 3')
    assert (await reader.kitchen.job(third))["state"] == "cancelled"
    with reader.kitchen.api() as client:
        assert client.get(f"/v1/jobs/{left}").json()["state"] == "scheduled"


async def test_everything_that_matches_goes_beyond_the_page(reader: Reader) -> None:
    jobs = waiting(reader.kitchen, 60, "bulk-all")
    page = await reader.open("/jobs?tag=bulk-all")
    await expect(page.locator(".pick")).to_have_count(50)
    await page.get_by_label("Select all on this page").check()
    await expect(page.locator("[data-selected]")).to_have_text("50 selected")
    await page.get_by_label("all 60 that match").check()
    await page.locator(".bulkbar").get_by_role("button", name="Delete").click()
    await page.get_by_role("button", name="Delete 60 jobs").click()
    await expect(page.locator("#top-of-job")).to_have_attribute("data-state", "completed")
    with reader.kitchen.api() as client:
        assert {client.get(f"/v1/jobs/{job}").status_code for job in jobs} == {404}


async def test_a_selection_outlives_updates_and_tells_what_is_gone(reader: Reader) -> None:
    kept, deleted = waiting(reader.kitchen, 2, "bulk-live")
    page = await reader.open("/jobs?tag=bulk-live")
    await picked(page, [kept, deleted])
    with reader.kitchen.api() as client:
        client.post(f"/v1/jobs/{kept}/cancel")
        client.delete(f"/v1/jobs/{deleted}")
    await expect(page.locator(f'[data-job="{kept}"]')).to_have_attribute("data-state", "cancelled")
    await expect(page.locator(f'.pick[value="{kept}"]')).to_be_checked()
    await expect(page.locator("[data-selected]")).to_have_text("1 selected, 1 gone")


async def test_without_scripts_a_selection_is_cancelled_too(chromium: Browser, kitchen: Kitchen) -> None:
    first, second = waiting(kitchen, 2, "bulk-plain")
    context = await chromium.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"{kitchen.url}/jobs?tag=bulk-plain")
    await picked(page, [first])
    await page.locator(".bulkbar").get_by_role("button", name="Cancel").click()
    await expect(page.get_by_role("heading", name="Cancel 1 job?")).to_be_visible()
    await page.get_by_role("button", name="Cancel 1 job").click()
    await expect(page.locator("#top-of-job")).to_be_visible()
    assert (await kitchen.job(first))["state"] == "cancelled"
    with kitchen.api() as client:
        assert client.get(f"/v1/jobs/{second}").json()["state"] == "scheduled"
    await context.close()


async def test_a_row_that_stops_matching_stays_dimmed_where_it_is(reader: Reader) -> None:
    jobs = waiting(reader.kitchen, 3, "bulk-dim")
    page = await reader.open("/jobs?tag=bulk-dim&state=scheduled")
    before = await page.locator("[data-list] [data-job]").evaluate_all("rows => rows.map(row => row.dataset.job)")
    with reader.kitchen.api() as client:
        client.post(f"/v1/jobs/{jobs[1]}/cancel")
    middle = page.locator(f'[data-job="{jobs[1]}"]')
    await expect(middle).to_have_attribute("data-unmatched", "")
    await expect(middle).to_contain_text("no longer matches the filter")
    after = await page.locator("[data-list] [data-job]").evaluate_all("rows => rows.map(row => row.dataset.job)")
    assert after == before == jobs[::-1]


async def test_much_more_than_was_seen_is_asked_about_again(reader: Reader) -> None:
    waiting(reader.kitchen, 5, "bulk-grew")
    page = await reader.open("/jobs?tag=bulk-grew")
    await page.get_by_label("Select all on this page").check()
    await page.get_by_label("all 5 that match").check()
    await expect(page.locator("[data-selected]")).to_have_text("Selected:")
    await page.locator(".bulkbar").get_by_role("button", name="Cancel").click()
    reader.seen.complaints.clear()
    waiting(reader.kitchen, 2, "bulk-grew")
    await page.get_by_role("button", name="Cancel 5 jobs").click()
    await expect(page.get_by_role("alert").filter(has_text="More match now")).to_contain_text("than the 5 that you saw")
    reader.seen.complaints.clear()  # the browser notes the 409
    await page.get_by_role("button", name="Cancel 7 jobs").click()
    await expect(page.locator("#outcome")).to_contain_text('"changed": 7')


async def test_all_failures_of_an_error_are_retried_from_its_page(reader: Reader) -> None:
    for _ in range(3):
        await reader.kitchen.job(reader.kitchen.submit("spill", args={"message": "only here"}))
    page = await reader.open("/errors")
    await page.get_by_role("link", name="only here").click()
    await page.get_by_role("button", name="Retry all 3").click()
    await page.get_by_role("dialog").get_by_role("button", name="Retry 3 jobs").click()
    await expect(page.locator("#outcome")).to_contain_text('"changed": 3')


async def test_the_question_does_not_answer_itself_and_gives_the_focus_back(reader: Reader) -> None:
    [job] = waiting(reader.kitchen, 1, "bulk-keys")
    page = await reader.open("/jobs?tag=bulk-keys")
    await page.locator(f'.pick[value="{job}"]').focus()
    await page.keyboard.press("Space")
    delete = page.locator(".bulkbar").get_by_role("button", name="Delete")
    await delete.focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("link", name="Leave them")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(delete).to_be_focused()
    await expect(page.locator(f'.pick[value="{job}"]')).to_be_checked()


async def test_all_that_match_is_not_kept_when_nothing_is_selected_any_more(reader: Reader) -> None:
    [job] = waiting(reader.kitchen, 1, "bulk-none")
    page = await reader.open("/jobs?tag=bulk-none")
    box, whole = page.locator(f'.pick[value="{job}"]'), page.get_by_label("all 1 that match")
    await box.check()
    await whole.check()
    await box.uncheck()
    await expect(page.locator(".bulkbar")).to_be_hidden()
    await box.check()
    await expect(whole).not_to_be_checked()


async def test_a_row_that_pales_or_is_deleted_moves_no_other(reader: Reader) -> None:
    jobs = waiting(reader.kitchen, 4, "bulk-still")
    for size in ({"width": 1280, "height": 900}, {"width": 390, "height": 844}):
        await reader.page.set_viewport_size(size)  # type: ignore[arg-type]
        page = await reader.open("/jobs?tag=bulk-still&state=scheduled")
        places = "rows => rows.map(row => [row.id, row.offsetTop, row.offsetHeight])"
        before = await page.locator("#jobs > li").evaluate_all(places)
        with reader.kitchen.api() as client:
            client.post(f"/v1/jobs/{jobs.pop()}/cancel")
            client.delete(f"/v1/jobs/{jobs.pop()}")
        await expect(page.locator("[data-unmatched]")).to_have_count(1)
        await expect(page.locator(".gone")).to_contain_text("This job was deleted.")
        assert await page.locator("#jobs > li").evaluate_all(places) == before


async def test_axe_finds_nothing_serious_in_a_list_with_a_selection_and_in_its_question(reader: Reader) -> None:
    pale, gone, chosen = waiting(reader.kitchen, 3, "bulk-axe")
    await reader.page.emulate_media(reduced_motion="reduce")
    page = await reader.open("/jobs?tag=bulk-axe&state=scheduled")
    await picked(page, [chosen])
    with reader.kitchen.api() as client:
        client.post(f"/v1/jobs/{pale}/cancel")
        client.delete(f"/v1/jobs/{gone}")
    await expect(page.locator("[data-unmatched]")).to_have_count(1)
    await expect(page.locator(".gone")).to_have_count(1)
    assert await serious(page, "the list") == []
    await page.locator(".bulkbar").get_by_role("button", name="Delete").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    assert await serious(page, "the question") == []
