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
