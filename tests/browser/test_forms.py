"""The forms in a real browser: fields made from a kind's schema, errors beside their fields, files handed in."""

import re
from pathlib import Path

from playwright.async_api import Page, expect

from tests.browser.conftest import Reader
from tests.browser.test_jobs_list import row


async def test_a_form_submits_a_job_and_leads_to_its_page(reader: Reader, tmp_path: Path) -> None:
    page = await reader.open("/kinds")
    await page.get_by_role("link", name="order", exact=True).click()
    await page.get_by_label("title", exact=True).fill("two boxes")
    await page.get_by_label("pieces").fill("7")
    await page.get_by_label("ratio").fill("0.25")
    await page.get_by_label("size").select_option("large")
    await page.get_by_label("fresh").uncheck()
    await page.get_by_label("toppings").fill("nuts\nrose")
    await page.get_by_label("address").fill('{"street": "1 Main"}')
    (tmp_path / "note.txt").write_text("ring twice")
    await page.get_by_label("note").set_input_files(tmp_path / "note.txt")
    await page.get_by_label("tags").fill("not a tag")
    await page.get_by_text("Options").click()
    await page.get_by_label("Queue").fill("express")
    await page.get_by_label("Marks").fill("a, b c")
    await page.get_by_role("button", name="Submit", exact=True).click()
    await expect(page).to_have_url(re.compile(r"/jobs/[0-9a-f-]{36}$"))
    job = await reader.kitchen.job(page.url.rpartition("/")[2])
    assert (job["queue"], job["tags"]) == ("express", ["a", "b c"])
    await expect(row(page, job["id"])).to_have_attribute("data-state", "completed")
    with reader.kitchen.api() as client:
        assert client.get(job["links"]["result"]).json() == {
            "title": "two boxes", "pieces": 7, "ratio": 0.25, "size": "large", "fresh": False,
            "toppings": ["nuts", "rose"], "city": "Jodhpur", "note": "ring twice", "tags": "not a tag",
        }  # fmt: skip


async def let_anything_through(page: Page) -> None:
    """Let the server check the form, not the browser."""
    await page.locator("form.form").evaluate("form => { form.noValidate = true }")


async def test_an_error_stands_beside_its_field_and_what_was_typed_stays(reader: Reader, tmp_path: Path) -> None:
    page = await reader.open("/kinds/order")
    await let_anything_through(page)
    await page.get_by_label("title", exact=True).fill("ab")
    await page.get_by_label("pieces").fill("501")
    await page.get_by_label("fresh").uncheck()
    await page.get_by_label("address").fill('{"street": ')
    (tmp_path / "note.txt").write_text("kept")
    await page.get_by_label("note").set_input_files(tmp_path / "note.txt")
    await page.get_by_role("button", name="Submit").click()
    await expect(page.locator(".field.wrong")).to_have_count(3)
    await expect(page.get_by_label("pieces")).to_have_attribute("aria-invalid", "true")
    await expect(page.get_by_label("pieces")).to_have_accessible_description(re.compile("less than or equal to 500"))
    await expect(page.get_by_label("address")).to_have_accessible_description(re.compile("This is not JSON"))
    await expect(page.get_by_label("title", exact=True)).to_have_value("ab")
    await expect(page.get_by_label("fresh")).not_to_be_checked()
    reader.seen.complaints.clear()  # the browser reports the 422
    await page.get_by_label("title", exact=True).fill("abc")
    await page.get_by_label("pieces").fill("500")
    await page.get_by_label("address").fill("")
    await page.get_by_role("button", name="Submit").click()
    await expect(page).to_have_url(re.compile(r"/jobs/[0-9a-f-]{36}$"))
    await expect(page.locator("#outcome")).to_contain_text('"note": "kept"')


async def test_the_browser_refuses_what_the_schema_refuses(reader: Reader) -> None:
    page = await reader.open("/kinds/order")
    await page.get_by_label("pieces").fill("0")
    await page.get_by_role("button", name="Submit").click()
    await expect(page.locator("input:invalid")).to_have_count(2)
    await expect(page).to_have_url(re.compile("/kinds/order$"))


async def test_a_form_that_a_reader_fills_in_is_left_alone(reader: Reader) -> None:
    page = await reader.open("/kinds/nap")
    await page.get_by_label("seconds").fill("0.1")
    await reader.kitchen.job(reader.kitchen.submit("nap", args={"seconds": 0}))
    await expect(page.get_by_label("seconds")).to_have_value("0.1")
    await page.get_by_role("button", name="Submit").click()
    await expect(page.locator("[data-job]")).to_have_attribute("data-state", "completed")


def made(reader: Reader, tag: str) -> list[str]:
    """Return the ids of the jobs with a tag."""
    with reader.kitchen.api() as client:
        return [job["id"] for job in client.get("/v1/jobs", params={"tag": tag}).json()["jobs"]]


async def fill_in(page: Page, tag: str) -> None:
    await page.get_by_label("seconds").fill("0.5")
    await page.get_by_text("Options").click()
    await page.get_by_label("Tags").fill(tag)


async def test_a_double_click_makes_one_job(reader: Reader) -> None:
    page = await reader.open("/kinds/nap")
    await fill_in(page, "twice")
    await page.get_by_role("button", name="Submit").dblclick()
    await expect(page).to_have_url(re.compile(r"/jobs/[0-9a-f-]{36}$"))
    assert made(reader, "twice") == [page.url.rpartition("/")[2]]


async def test_however_often_a_form_is_sent_it_leads_to_one_job(reader: Reader) -> None:
    page = await reader.open("/kinds/nap")
    await fill_in(page, "often")
    send = "form => fetch(form.action, { method: 'POST', body: new URLSearchParams(new FormData(form)) })"
    urls = await page.locator("form.form").evaluate(
        f"form => Promise.all([1, 2, 3].map(() => ({send})(form))).then(all => all.map(one => one.url))"
    )
    await page.get_by_role("button", name="Submit").click()
    await expect(page).to_have_url(urls[0])
    assert made(reader, "often") == [page.url.rpartition("/")[2]]
    assert len(set(urls)) == 1


async def test_the_way_back_to_a_form_leads_to_another_job(reader: Reader) -> None:
    page = await reader.open("/kinds/nap")
    key = page.locator('[name="option:key"]')
    old = await key.input_value()
    await fill_in(page, "back")
    await page.get_by_role("button", name="Submit").click()
    await expect(page).to_have_url(re.compile(r"/jobs/[0-9a-f-]{36}$"))
    first = page.url
    await page.go_back()
    await expect(page.get_by_label("seconds")).to_be_visible()
    await key.evaluate("(input, old) => { input.value = old }", old)  # as a browser may restore it
    await page.get_by_label("seconds").fill("0.25")
    await page.get_by_role("button", name="Submit").click()
    await expect(page).to_have_url(re.compile(r"/jobs/[0-9a-f-]{36}$"))
    assert page.url != first
