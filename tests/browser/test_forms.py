"""The forms in a real browser: fields made from a kind's schema, errors beside their fields, files handed in."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import Kitchen, Reader, watch
from tests.browser.test_axe import serious
from tests.browser.test_jobs_list import row


async def test_a_form_submits_a_job_and_leads_to_its_page(reader: Reader, tmp_path: Path) -> None:
    page = await reader.open("/kinds")
    await page.get_by_role("link", name="order", exact=True).click()
    await page.get_by_label("title", exact=True).fill("two boxes")
    await page.get_by_label("pieces").fill("7")
    await page.get_by_label("ratio").fill("0.25")
    await page.get_by_role("radiogroup", name="size").get_by_label("large").check()
    await page.get_by_label("fresh").uncheck()
    await page.get_by_label("toppings").fill("nuts\nrose")
    await expect(page.get_by_label("street")).to_be_hidden()
    await page.get_by_label("address").check()
    await page.get_by_label("street").fill("1 Main")
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
    await page.get_by_label("address").check()
    (tmp_path / "note.txt").write_text("kept")
    await page.get_by_label("note").set_input_files(tmp_path / "note.txt")
    await page.get_by_role("button", name="Submit").click()
    await expect(page.locator(".field.wrong")).to_have_count(3)
    await expect(page.get_by_label("pieces")).to_have_attribute("aria-invalid", "true")
    await expect(page.get_by_label("pieces")).to_have_accessible_description(re.compile("less than or equal to 500"))
    await expect(page.get_by_label("street")).to_have_accessible_description(re.compile("Field required"))
    await page.get_by_role("alert").get_by_role("link", name="address / street").click()
    await expect(page.get_by_label("street")).to_be_focused()
    await expect(page.get_by_label("title", exact=True)).to_have_value("ab")
    await expect(page.get_by_label("fresh")).not_to_be_checked()
    reader.seen.complaints.clear()  # the browser reports the 422
    await page.get_by_label("title", exact=True).fill("abc")
    await page.get_by_label("pieces").fill("500")
    await page.get_by_label("address").uncheck()
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


RICH = Path(__file__).with_name("rich.py")


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kitchen]:
    """A shop whose kinds take parameters of every sort."""
    made = Kitchen(tmp_path_factory.mktemp("warehouse"), "--database", "sqlite://", shop=RICH)
    yield made
    made.process.close()


@pytest.fixture(params=[True, False], ids=["with scripts", "without scripts"])
async def visitor(
    request: pytest.FixtureRequest, chromium: Browser, warehouse: Kitchen
) -> AsyncIterator[tuple[Page, bool]]:
    """A page on a small screen, with scripts and without; it may complain of refused forms alone."""
    scripts = bool(request.param)
    context = await chromium.new_context(java_script_enabled=scripts, viewport={"width": 390, "height": 844})
    reader = await watch(context, warehouse)
    yield reader.page, scripts
    complaints = [one for one in reader.seen.complaints if "422" not in one]
    await context.close()
    assert complaints == []


async def test_rows_in_rows_are_added_removed_and_sent(visitor: tuple[Page, bool], warehouse: Kitchen) -> None:
    page, scripts = visitor
    await page.goto(f"{warehouse.url}/kinds/deliver")
    await page.get_by_label("title").fill("boxes")
    await page.get_by_label("slow").check()
    await page.get_by_role("group", name="sender").get_by_label("street").fill("1 Main")
    for number in (1, 2, 3):
        await page.get_by_role("button", name="Add one to boxes").click()
        await expect(page.get_by_role("button", name=f"Remove {number} of boxes")).to_be_visible()
        if scripts:
            await expect(page.get_by_label("weight").nth(number - 1)).to_be_focused()
        await page.get_by_label("weight").nth(number - 1).fill(str(number))
    await expect(page.get_by_label("title")).to_have_value("boxes")
    await page.get_by_role("button", name="Remove 2 of boxes").click()
    await expect(page.get_by_label("weight")).to_have_count(2)
    await page.get_by_role("button", name="Add one to to").last.click()
    boxes = page.get_by_role("group", name="boxes")
    await boxes.get_by_label("street").fill("3 Side")
    await page.get_by_role("radio", name="truck").check()
    await page.get_by_label("plate").fill("RJ 19")
    await expect(page.get_by_label("port")).to_be_hidden()
    await page.get_by_role("button", name="Submit").click()
    await expect(page).to_have_url(re.compile(r"/jobs/[0-9a-f-]{36}$"))
    job = await warehouse.job(page.url.rpartition("/")[2])
    assert job["args"]["boxes"] == [
        {"weight": 1, "to": []}, {"weight": 3, "to": [{"street": "3 Side", "city": "Jodhpur"}]},
    ]  # fmt: skip
    assert job["args"]["way"] == {"by": "truck", "plate": "RJ 19"}


async def test_the_enter_key_submits_and_adds_no_row(visitor: tuple[Page, bool], warehouse: Kitchen) -> None:
    page, _ = visitor
    await page.goto(f"{warehouse.url}/kinds/names")
    await page.get_by_label("submit").fill("typed")
    await page.get_by_label("submit").press("Enter")
    await expect(page).to_have_url(re.compile(r"/jobs/[0-9a-f-]{36}$"))


async def test_names_that_mean_something_to_a_browser_are_names(visitor: tuple[Page, bool], warehouse: Kitchen) -> None:
    page, _ = visitor
    await page.goto(f"{warehouse.url}/kinds/names")
    await page.get_by_label("submit").fill("typed")
    await page.get_by_role("button", name="Add one to boxes").click()
    await page.get_by_label("weight").fill("5")
    await page.get_by_role("button", name="Add one to more").click()
    await page.get_by_label("key").fill("a.b/c __proto__")
    await page.get_by_label("value").fill("[1]")
    await page.get_by_role("button", name="Submit").click()
    await expect(page).to_have_url(re.compile(r"/jobs/[0-9a-f-]{36}$"))
    job = await warehouse.job(page.url.rpartition("/")[2])
    assert (job["state"], job["args"]["submit"], job["args"]["a.b/c __proto__"]) == ("completed", "typed", [1])


async def test_a_form_goes_over_to_json_and_back(visitor: tuple[Page, bool], warehouse: Kitchen) -> None:
    page, _ = visitor
    await page.goto(f"{warehouse.url}/kinds/deliver")
    await page.get_by_label("title").fill("as json")
    await page.get_by_role("button", name="Edit as JSON").click()
    args = page.get_by_label("args")
    await expect(args).to_have_value(re.compile('"title": "as json"'))
    await args.fill('{"title": "other", "sender": {"street": "s"}, "speed": "slow", "way": {"by": "ship"}')
    await page.get_by_role("button", name="Submit").click()
    await expect(args).to_have_accessible_description(re.compile("This is not JSON"))
    await args.fill(
        '{"title": "other", "speed": "slow", "sender": {"street": "s"}, "way": {"by": "ship", "port": "Mundra"}}'
    )
    await page.get_by_role("button", name="Back to the fields").click()
    await expect(page.get_by_label("title")).to_have_value("other")
    await expect(page.get_by_role("radio", name="ship")).to_be_checked()
    await expect(page.get_by_label("port")).to_have_value("Mundra")
    await page.get_by_role("button", name="Submit").click()
    await expect(page).to_have_url(re.compile(r"/jobs/[0-9a-f-]{36}$"))


async def test_a_form_is_filled_in_by_keys_alone(chromium: Browser, warehouse: Kitchen) -> None:
    context = await chromium.new_context()
    try:
        page = (await watch(context, warehouse)).page
        await page.goto(f"{warehouse.url}/kinds/deliver")
        await page.get_by_label("slow").check()
        await page.get_by_label("title").focus()
        for text in ("by keys", "1 Main"):
            await page.keyboard.type(text)
            await page.keyboard.press("Tab")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Space")
        await expect(page.get_by_role("radio", name="truck")).to_be_checked()
        await page.keyboard.press("ArrowDown")
        await expect(page.get_by_role("radio", name="ship")).to_be_checked()
        await page.keyboard.press("Tab")
        await expect(page.get_by_label("port")).to_be_focused()
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("button", name="Add one to boxes")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.get_by_label("weight")).to_be_focused()
        await page.keyboard.type("7")
        await page.keyboard.press("Enter")
        await expect(page).to_have_url(re.compile(r"/jobs/[0-9a-f-]{36}$"))
    finally:
        await context.close()


async def test_no_form_is_wider_than_a_small_screen(chromium: Browser, warehouse: Kitchen) -> None:
    context = await chromium.new_context(viewport={"width": 320, "height": 700})
    try:
        page = (await watch(context, warehouse)).page
        await page.goto(f"{warehouse.url}/kinds/deliver")
        await page.get_by_role("button", name="Add one to boxes").click()
        await page.get_by_role("button", name="Add one to to").click()
        await expect(page.get_by_role("button", name="Remove 1 of to")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth") <= 320
    finally:
        await context.close()


async def test_axe_finds_nothing_serious_in_a_form_with_everything_in_it(chromium: Browser, warehouse: Kitchen) -> None:
    context = await chromium.new_context(reduced_motion="reduce")
    try:
        page = await context.new_page()
        await page.goto(f"{warehouse.url}/kinds/deliver")
        for name in ("boxes", "to", "prices"):
            await page.get_by_role("button", name=f"Add one to {name}").click()
            await expect(page.get_by_role("button", name=f"Remove 1 of {name}")).to_be_visible()
        await page.get_by_label("insured").check()
        await let_anything_through(page)
        await page.get_by_role("button", name="Submit").click()
        await expect(page.get_by_role("alert").get_by_role("link")).to_have_count(7)
        await page.get_by_role("radio", name="ship").check()
        found = await serious(page, "a form with everything")
        await page.get_by_role("radio", name="ship").check()
        await page.get_by_role("button", name="Edit as JSON").click()
        found += await serious(page, "the args as JSON")
        assert found == []
    finally:
        await context.close()
