"""What axe finds on every page, light and dark, at a desk and on a phone: nothing serious."""

from collections.abc import AsyncIterator, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.async_api import Browser, Page, ViewportSize, expect

from tests.browser.conftest import Kitchen
from tests.browser.every import every_page

AXE = (files("axe_playwright_python") / "axe.min.js").read_text()
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN = """async (only) => {
    const found = await axe.run(document, {runOnly: only, resultTypes: ["violations"], iframes: false});
    return found.violations.flatMap((one) => one.nodes.map(
        (node) => [one.impact, one.id, node.target.join(" "), node.failureSummary]));
}"""
Scheme = Literal["light", "dark"]
DESK: ViewportSize = {"width": 1360, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
ALL = {"type": "tag", "values": TAGS}
#: In the dark, only colours differ.
COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
LOOKS: list[tuple[Scheme, ViewportSize, Any]] = [
    ("light", DESK, ALL), ("dark", DESK, COLOURS), ("dark", PHONE, COLOURS), ("light", PHONE, ALL),
]  # fmt: skip


@pytest.fixture
async def page(chromium: Browser) -> AsyncIterator[Page]:
    """A page that may move nothing while it is looked at."""
    context = await chromium.new_context(viewport=DESK, reduced_motion="reduce")
    yield await context.new_page()
    await context.close()


async def serious(page: Page, path: str) -> list[Any]:
    """Return what axe finds serious on a page that is open, in every look and size."""
    await page.evaluate(AXE)
    found = []
    for scheme, size, only in LOOKS:
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        await page.set_viewport_size(size)
        for impact, *rest in await page.evaluate(RUN, only):
            if impact in {"serious", "critical"}:
                found.append((path, scheme, size["width"], *rest))
    return found


async def test_axe_finds_nothing_serious_on_any_page(page: Page, kitchen: Kitchen) -> None:
    found = []
    for path in await every_page(kitchen):
        await page.goto(kitchen.url + path)
        await expect(page.locator("[data-live]")).to_have_attribute("data-live", "live")
        found += await serious(page, path)
    assert found == []


async def test_axe_finds_nothing_serious_where_something_is_wrong(page: Page, kitchen: Kitchen) -> None:
    found = []
    for path in ("/jobs/none", "/nowhere", "/jobs?state=nonsense"):
        await page.goto(kitchen.url + path)
        found += await serious(page, path)
    await page.goto(f"{kitchen.url}/kinds/order")
    await page.locator("main form").evaluate("form => { form.noValidate = true }")
    await page.get_by_label("pieces").fill("501")
    await page.get_by_role("button", name="Submit", exact=True).click()
    await expect(page.locator("[aria-invalid=true]").first).to_be_visible()
    found += await serious(page, "the form with errors")
    assert found == []


async def test_axe_finds_nothing_serious_in_the_help_dialog(page: Page, kitchen: Kitchen) -> None:
    await page.goto(f"{kitchen.url}/jobs")
    await page.get_by_role("link", name="Help").click()
    await expect(page.get_by_role("dialog", name="Help")).to_be_visible()
    assert await serious(page, "the help dialog") == []


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Kitchen]:
    """A shop that asks for a token."""
    made = Kitchen(tmp_path, "--database", "sqlite://", env={"JALEBI_TOKEN": "sesame"})
    yield made
    made.process.close()


async def test_axe_finds_nothing_serious_on_the_login_page(page: Page, locked: Kitchen) -> None:
    await page.goto(f"{locked.url}/jobs")
    await page.get_by_label("Token").fill("pepper")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_text("That is not the token.")).to_be_visible()
    assert await serious(page, "/login") == []
