"""What a reader does while the page changes under the hand: nothing of it is lost."""

from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import Reader
from tests.browser.test_jobs_list import row

SELECT = """element => {
    const range = document.createRange();
    range.selectNodeContents(element);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
}"""


def cancel(reader: Reader, job: str) -> None:
    """Change a row."""
    with reader.kitchen.api() as client:
        client.post(f"/v1/jobs/{job}/cancel")


async def press(page: Page, element: Locator) -> None:
    """Put the mouse on an element, and the finger on the button."""
    box = await element.bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    await page.mouse.down()


async def test_focus_checks_selection_and_typed_text_survive_a_swap_of_their_row(reader: Reader) -> None:
    job = reader.kitchen.submit("nap", tags=["swap"], delay=3600)
    page = await reader.open("/jobs?tag=swap")
    await page.get_by_label("Search").fill("half a wo")
    await row(page, job).locator(".pick").check()
    await row(page, job).locator(".id").evaluate(SELECT)
    await row(page, job).get_by_role("link").focus()
    await page.evaluate("job => { window.before = document.getElementById(`job-${job}`); }", job)
    cancel(reader, job)
    await expect(row(page, job)).to_have_attribute("data-state", "cancelled")
    assert await page.evaluate("job => window.before === document.getElementById(`job-${job}`)", job)
    await expect(row(page, job).get_by_role("link")).to_be_focused()
    await expect(row(page, job).locator(".pick")).to_be_checked()
    await expect(page.get_by_label("Search")).to_have_value("half a wo")
    assert await page.evaluate("getSelection().toString()") == job[-8:]


async def test_the_caret_stays_where_it_is_while_rows_change(reader: Reader) -> None:
    job = reader.kitchen.submit("nap", tags=["caret"], delay=3600)
    page = await reader.open("/jobs?tag=caret")
    field = page.get_by_label("Search")
    await field.fill("half a wo")
    await field.evaluate("field => field.setSelectionRange(2, 5)")
    cancel(reader, job)
    await expect(row(page, job)).to_have_attribute("data-state", "cancelled")
    await expect(field).to_be_focused()
    assert await field.evaluate("field => [field.selectionStart, field.selectionEnd]") == [2, 5]


async def test_a_click_whose_element_is_swapped_in_between_arrives(reader: Reader) -> None:
    job = reader.kitchen.submit("nap", tags=["click"], delay=3600)
    page = await reader.open("/jobs?tag=click")
    await press(page, row(page, job).get_by_role("link"))
    cancel(reader, job)
    await expect(row(page, job)).to_have_attribute("data-state", "cancelled")
    await page.mouse.up()
    await expect(page.locator("#top-of-job")).to_have_attribute("data-job", job)


async def test_a_click_on_a_tab_whose_counts_change_in_between_arrives(reader: Reader) -> None:
    reader.kitchen.submit("nap", queue="tabs", delay=3600)
    page = await reader.open("/jobs?queue=tabs")
    tab = page.locator("#tabs a").filter(has_text="Waiting")
    await expect(tab.locator(".count")).to_have_text("1")
    await press(page, tab)
    reader.kitchen.submit("nap", queue="tabs", delay=3600)
    await expect(tab.locator(".count")).to_have_text("2")
    await page.mouse.up()
    await expect(page.locator("#tabs [aria-current]")).to_contain_text("Waiting")


async def test_what_is_unfolded_on_the_page_of_a_job_stays_open(reader: Reader) -> None:
    job = reader.kitchen.submit("gate", args={"name": "unfolded"})
    page = await reader.open(f"/jobs/{job}")
    history = page.locator("#history details")
    await history.locator("summary").click()
    await expect(history).to_have_attribute("open", "")
    reader.kitchen.open_gate("unfolded")
    await expect(page.locator("#top-of-job")).to_have_attribute("data-state", "completed")
    await expect(history.get_by_text("completed")).to_be_visible()
    await expect(history).to_have_attribute("open", "")


async def test_a_box_that_is_ticked_while_its_row_changes_is_ticked(reader: Reader) -> None:
    job = reader.kitchen.submit("nap", tags=["tick"], delay=3600)
    page = await reader.open("/jobs?tag=tick")
    box = row(page, job).locator(".pick")
    await press(page, box)
    cancel(reader, job)
    await expect(row(page, job)).to_have_attribute("data-state", "cancelled")
    await page.mouse.up()
    await expect(box).to_be_checked()
    await expect(page.locator("[data-selected]")).to_have_text("1 selected")


async def test_unfolded_filters_and_what_is_chosen_in_them_stay_while_rows_change(reader: Reader) -> None:
    job = reader.kitchen.submit("nap", tags=["unfold"], delay=3600)
    page = await reader.open("/jobs?tag=unfold")
    await page.locator("#when-filter summary").click()
    await page.get_by_label("From (UTC)").fill("2001-02-03T04:05")
    await page.get_by_label("Kind").select_option("spill")
    cancel(reader, job)
    await expect(row(page, job)).to_have_attribute("data-state", "cancelled")
    await expect(page.get_by_label("From (UTC)")).to_be_visible()
    await expect(page.get_by_label("From (UTC)")).to_have_value("2001-02-03T04:05")
    await expect(page.get_by_label("Kind")).to_have_value("spill")


async def test_what_a_reader_does_survives_that_the_whole_page_is_fetched_anew(reader: Reader) -> None:
    job = reader.kitchen.submit("nap", tags=["anew"], delay=3600)
    page = await reader.open("/jobs?tag=anew")
    await page.locator("#when-filter summary").click()
    await row(page, job).locator(".pick").check()
    await page.get_by_label("Search").fill("half a wo")
    newer = reader.kitchen.submit("nap", tags=["anew"], delay=3600)
    await page.evaluate("live.refresh()")
    await expect(row(page, newer)).to_be_visible()
    await expect(row(page, job).locator(".pick")).to_be_checked()
    await expect(row(page, newer).locator(".pick")).not_to_be_checked()
    await expect(page.get_by_label("Search")).to_have_value("half a wo")
    await expect(page.locator("#when-filter")).to_have_attribute("open", "")
    await expect(page.locator("[data-selected]")).to_have_text("1 selected")
