"""Keys: rows, search, pages, help; at rest while one types, and for those who do not want them."""

import re

from playwright.async_api import Page, expect

from tests.browser.conftest import Reader


async def focused(page: Page) -> str:
    """Return what has the focus: the text of its row, or its name."""
    script = "(document.activeElement.closest('[data-job]') ?? document.activeElement).dataset?.job ?? ''"
    return str(await page.evaluate(script))


async def test_j_and_k_move_the_focus_from_row_to_row_and_enter_opens_one(reader: Reader) -> None:
    jobs = [reader.kitchen.submit("nap", delay=900, tags=["keys"]) for _ in range(3)]
    page = await reader.open("/jobs?tag=keys")
    for key, expected in (("j", 2), ("j", 1), ("j", 0), ("j", 0), ("k", 1), ("k", 2), ("k", 2)):
        await page.keyboard.press(key)
        assert await focused(page) == jobs[expected]
    assert await page.evaluate("document.activeElement.tagName") == "A"
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile(f"/jobs/{jobs[2]}$"))


async def test_no_row_that_has_the_focus_is_hidden_below_the_bar_at_the_top(reader: Reader) -> None:
    for _ in range(30):
        reader.kitchen.submit("nap", delay=900, tags=["many"])
    page = await reader.open("/jobs?tag=many")
    await page.set_viewport_size({"width": 390, "height": 600})
    covered = """() => {
        const at = document.activeElement.getBoundingClientRect();
        const bar = document.querySelector('.top').getBoundingClientRect();
        return at.top < bar.bottom - 1 || at.bottom > innerHeight + 1;
    }"""
    for key in "j" * 12 + "k" * 9:
        await page.keyboard.press(key)
        assert await page.evaluate(covered) is False


async def test_a_slash_leads_to_the_search_from_every_page(reader: Reader) -> None:
    page = await reader.open("/jobs")
    await page.keyboard.press("/")
    await expect(page.get_by_label("Search")).to_be_focused()
    await expect(page.get_by_label("Search")).to_have_value("")
    page = await reader.open("/kinds")
    await page.keyboard.press("/")
    await expect(page).to_have_url(re.compile("/jobs#search$"))
    await expect(page.get_by_label("Search")).to_be_focused()


async def test_g_and_a_letter_lead_to_a_page(reader: Reader) -> None:
    await reader.open("/")
    for letter, path in (("j", "/jobs"), ("k", "/kinds"), ("q", "/queues"), ("w", "/workers"), ("o", "/")):
        await reader.page.keyboard.press("g")
        await reader.page.keyboard.press(letter)
        await expect(reader.page).to_have_url(reader.kitchen.url + path)
        await expect(reader.page.locator("[data-live]")).to_have_attribute("data-live", "live")


async def test_keys_rest_while_one_types_and_with_modifiers(reader: Reader) -> None:
    reader.kitchen.submit("nap", delay=900, tags=["typing"])
    page = await reader.open("/jobs?tag=typing")
    await page.get_by_label("Search").focus()
    await page.keyboard.type("jgk?/p")
    await expect(page.get_by_label("Search")).to_have_value("jgk?/p")
    await expect(page.get_by_label("Search")).to_be_focused()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await page.locator("h1").evaluate("() => document.activeElement.blur()")
    await page.keyboard.press("Alt+j")
    await page.keyboard.press("Control+/")
    assert await focused(page) == ""


async def test_the_help_opens_as_a_dialog_keeps_the_focus_and_gives_it_back(reader: Reader) -> None:
    page = await reader.open("/jobs")
    await page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Help")
    await expect(dialog).to_be_visible()
    await expect(dialog.get_by_role("heading", name="Help")).to_be_focused()
    await page.keyboard.press("j")
    for _ in range(12):
        await page.keyboard.press("Tab")
        assert await page.evaluate("!document.activeElement.closest('main, header.top')")
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await expect(page.get_by_role("link", name="Help")).to_be_focused()
    await page.get_by_role("link", name="Help").click()
    await dialog.get_by_role("button", name="Close").click()
    await expect(dialog).to_be_hidden()


async def test_keys_can_be_switched_off_for_good(reader: Reader) -> None:
    page = await reader.open("/jobs")
    await page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Help")
    await dialog.get_by_role("group", name="Keys").get_by_label("Off").check()
    await page.keyboard.press("Escape")
    await page.keyboard.press("?")
    await expect(dialog).to_be_hidden()
    await page.reload()
    await page.keyboard.press("?")
    await page.keyboard.press("/")
    await expect(page.get_by_label("Search")).not_to_be_focused()
    await page.get_by_role("link", name="Help").click()
    await dialog.get_by_role("group", name="Keys").get_by_label("On").check()
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await page.keyboard.press("/")
    await expect(page.get_by_label("Search")).to_be_focused()


async def test_a_dialog_that_is_told_late_of_its_end_does_not_take_the_focus_back(reader: Reader) -> None:
    # Between the end of a dialog and the event that tells of it, a reader has time to move on.
    closed_late = """async () => {
        const dialog = document.querySelector("dialog[open]"), field = document.querySelector("main a[href]");
        const told = new Promise((resolve) => dialog.addEventListener("close", () => setTimeout(resolve)));
        dialog.close();
        field.focus();
        await told;
        return document.activeElement === field;
    }"""
    page = await reader.open("/jobs")
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Help")).to_be_visible()
    assert await page.evaluate(closed_late)
    job = reader.kitchen.submit("nap", delay=900, tags=["late"])
    page = await reader.open(f"/jobs/{job}")
    await page.get_by_role("button", name="Delete").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    assert await page.evaluate(closed_late)
