"""What a job's page tells of its whole life: attempts, receipts, the browser's tab, a notification, files, copies."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
from playwright.async_api import Browser, Locator, Page, WebSocket, expect

from tests.browser.conftest import Kitchen, Reader, watch
from tests.browser.test_jobs_list import row, state
from tests.browser.test_log import LINES, hide
from tests.support import eventually

#: Notes what the page would show, and says yes when asked.
NOTES = """
  window.notes = [];
  window.asked = 0;
  window.Notification = class {
    static permission = "default";
    static async requestPermission() { window.asked++; return (this.permission = "granted"); }
    constructor(title, options) { window.notes.push([title, options.body]); }
    close() {}
  };
"""


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kitchen]:
    made = Kitchen(tmp_path_factory.mktemp("life"), "--database", "sqlite://", shop=LINES)
    yield made
    made.process.close()


def attempts(page: Page) -> Locator:
    return page.locator("#attempts .attempts > li")


def icon(page: Page) -> Locator:
    return page.locator("link[rel=icon]")


def post(kitchen: Kitchen, job: str, action: str) -> None:
    with kitchen.api() as client:
        assert client.post(f"/v1/jobs/{job}/{action}").status_code == 202


async def begun(page: Page, job: str) -> None:
    await expect(row(page, job).locator("progress")).to_have_attribute("value", "7")


async def test_every_attempt_tells_how_it_ended_and_with_which_error(reader: Reader) -> None:
    job = reader.kitchen.submit("burn")
    await reader.kitchen.job(job)
    page = await reader.open(f"/jobs/{job}")
    took = re.compile(r"Waited [\d.]+ s, ran [\d.]+ s\.")
    await expect(attempts(page)).to_have_count(3)
    for number, how in enumerate(["retrying", "retrying", "completed"], 1):
        one = attempts(page).nth(number - 1)
        await expect(one).to_have_class(how)
        await expect(one).to_contain_text(f"Attempt {number}")
        await expect(one).to_contain_text(took)
        await expect(one.locator("svg .run")).to_be_attached()
    second = attempts(page).nth(1)
    await expect(second).to_contain_text("The next one was due at")
    trace = second.get_by_label("Error of attempt 2")
    await expect(trace).to_be_hidden()
    await second.get_by_text("ValueError: burnt 2", exact=True).click()
    await expect(trace).to_contain_text('raise ValueError(f"burnt {ctx.attempt}')
    await expect(trace).to_contain_text("and stuck to the pan")


async def test_attempts_come_by_themselves_and_an_open_traceback_stays_open(reader: Reader) -> None:
    job = reader.kitchen.submit("hold", args={"gate": "spilled", "fail": True}, max_attempts=1)
    page = await reader.open(f"/jobs/{job}")
    await expect(attempts(page)).to_have_class(["running"])
    reader.kitchen.open_gate("spilled-ends")
    await expect(attempts(page)).to_have_class(["failed"])
    await attempts(page).get_by_text("ValueError: spilled", exact=True).click()
    await expect(page.get_by_label("Error of attempt 1")).to_be_visible()
    post(reader.kitchen, job, "retry")
    await expect(attempts(page)).to_have_class(["failed", "failed"])
    await expect(page.get_by_label("Error of attempt 1")).to_be_visible()


async def test_a_cancelled_attempt_keeps_its_receipts(reader: Reader) -> None:
    job = reader.kitchen.submit("hold", args={"gate": "cancelled"})
    page = await reader.open(f"/jobs/{job}")
    await begun(page, job)
    await page.get_by_role("button", name="Cancel", exact=True).click()
    steps = page.get_by_role("list", name="How attempt 1 was stopped").get_by_role("listitem")
    told = [re.compile(name) for name in ("requested", r"delivered\s+\+", r"acknowledged\s+\+", r"stopped\s+\+")]
    await expect(steps).to_have_text(told)
    reader.kitchen.open_gate("cancelled-ends")
    await page.get_by_role("button", name="Retry", exact=True).click()
    await expect(attempts(page)).to_have_class(["cancelled", "completed"])
    await expect(steps).to_have_text(told)
    await expect(page.get_by_role("list", name="Cancellation")).to_have_count(0)


async def test_a_job_that_waits_says_for_what(reader: Reader) -> None:
    job = reader.kitchen.submit("hold", args={"gate": "later"}, delay=500)
    page = await reader.open(f"/jobs/{job}")
    await expect(attempts(page)).to_contain_text(["Due at"])
    await page.get_by_role("button", name="Cancel", exact=True).click()
    await expect(attempts(page)).to_contain_text(["Not started"])


async def test_the_tab_shows_how_far_the_job_is_and_how_it_ended(reader: Reader) -> None:
    job = reader.kitchen.submit("hold", args={"gate": "tab"})
    page = await reader.open(f"/jobs/{job}")
    await expect(page).to_have_title("7 % hold · Jalebi")
    await expect(icon(page)).to_have_attribute("data-part", "7")
    reader.kitchen.open_gate("tab")
    await expect(page).to_have_title("42 % hold · Jalebi")
    await expect(icon(page)).to_have_attribute("data-part", "42")
    drawn = unquote(await icon(page).get_attribute("href") or "")
    assert drawn.startswith("data:image/svg+xml,<svg")
    assert 'stroke-dasharray="42 100"' in drawn
    running = await icon(page).get_attribute("data-colour")
    reader.kitchen.open_gate("tab-ends")
    await expect(page).to_have_title("✓ hold · Jalebi")
    await expect(icon(page)).to_have_attribute("data-part", "100")
    assert await icon(page).get_attribute("data-colour") != running


async def test_while_only_progress_moves_no_html_is_sent(reader: Reader) -> None:
    frames: list[str] = []

    def on_socket(socket: WebSocket) -> None:
        socket.on("framereceived", lambda payload: frames.append(str(payload)))

    reader.page.on("websocket", on_socket)
    job = reader.kitchen.submit("hold", args={"gate": "only-bars"})
    page = await reader.open(f"/jobs/{job}")
    await begun(page, job)

    async def flowing() -> bool | None:
        return True if sum('"k":"bars"' in frame for frame in frames) > 2 else None

    await eventually(flowing)
    start = len(frames)
    reader.kitchen.open_gate("only-bars")
    await expect(row(page, job).locator("progress")).to_have_attribute("value", "42")
    assert [frame for frame in frames[start:] if '"k":"html"' in frame] == []
    reader.kitchen.open_gate("only-bars-ends")
    await expect(row(page, job)).to_have_attribute("data-state", "completed")


async def watching(reader: Reader, gate: str, **args: Any) -> tuple[Page, str]:
    """Return a page that is asked to notify, and its job."""
    await reader.page.context.grant_permissions(["notifications"])
    await reader.page.add_init_script(NOTES)
    job = reader.kitchen.submit("hold", args={"gate": gate, **args}, max_attempts=1)
    page = await reader.open(f"/jobs/{job}")
    assert await page.evaluate("window.asked") == 0
    button = page.get_by_role("button", name="Notify me when it ends")
    await button.click()
    await expect(button).to_have_attribute("aria-pressed", "true")
    assert await page.evaluate("window.asked") == 1
    return page, job


async def notes(page: Page) -> list[list[str]]:
    """Return the notifications, once there is one."""

    async def some() -> list[list[str]] | None:
        found: list[list[str]] = await page.evaluate("window.notes")
        return found or None

    return await eventually(some)


async def test_a_notification_comes_once_at_the_end(reader: Reader) -> None:
    page, job = await watching(reader, "notify")
    reader.kitchen.open_gate("notify-ends")
    await expect(row(page, job)).to_have_attribute("data-state", "completed")
    [[title, body]] = await notes(page)
    assert title == "✓ hold: completed"
    assert body.startswith("Done")
    await expect(page.get_by_role("button", name="Notify me when it ends")).to_be_hidden()
    post(reader.kitchen, job, "retry")
    await expect(attempts(page)).to_have_class(["completed", "completed"])
    assert len(await notes(page)) == 1


async def test_a_notification_comes_while_the_tab_is_hidden_and_has_no_socket(reader: Reader) -> None:
    page, _ = await watching(reader, "notify-hidden", fail=True)
    await hide(page, hidden=True)
    await expect(page.locator("[data-live]")).not_to_have_attribute("data-live", "live")
    reader.kitchen.open_gate("notify-hidden-ends")
    assert await notes(page) == [["✗ hold: failed", "spilled"]]
    await expect(page).to_have_title("✗ hold · Jalebi")
    await hide(page, hidden=False)
    await expect(page.locator("#top-of-job")).to_have_attribute("data-state", "failed")
    assert len(await notes(page)) == 1


async def test_the_wish_for_a_notification_is_remembered_and_can_be_taken_back(reader: Reader) -> None:
    page, job = await watching(reader, "notify-again")
    await page.reload()
    button = page.get_by_role("button", name="Notify me when it ends")
    await expect(button).to_have_attribute("aria-pressed", "true")
    await button.click()
    await expect(button).to_have_attribute("aria-pressed", "false")
    reader.kitchen.open_gate("notify-again-ends")
    await expect(row(page, job)).to_have_attribute("data-state", "completed")
    await expect(page).to_have_title("✓ hold · Jalebi")
    assert await page.evaluate("window.notes") == []


async def test_where_there_are_no_notifications_none_is_offered(reader: Reader) -> None:
    await reader.page.add_init_script("delete window.Notification")
    job = reader.kitchen.submit("hold", args={"gate": "none"})
    page = await reader.open(f"/jobs/{job}")
    await begun(page, job)
    await expect(page.locator("#notify")).to_be_hidden()
    reader.kitchen.open_gate("none-ends")


async def test_pictures_are_shown_in_boxes_of_one_size(reader: Reader) -> None:
    job = reader.kitchen.submit("paint")
    await reader.kitchen.job(job)
    page = await reader.open(f"/jobs/{job}")
    picture = page.locator("#files img")
    await expect(picture).to_have_attribute("loading", "lazy")

    async def loaded() -> bool | None:
        return True if await picture.evaluate("one => one.complete && one.naturalWidth") else None

    await eventually(loaded)
    boxes = await page.locator("#files .box").evaluate_all("all => all.map(one => one.offsetHeight)")
    assert boxes == [118, 118]
    assert await page.locator("#files li img").count() == 1


async def test_args_result_and_traceback_can_be_copied(reader: Reader) -> None:
    await reader.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    job = reader.kitchen.submit("burn", args={"times": 1}, max_attempts=1)
    await reader.kitchen.job(job)
    page = await reader.open(f"/jobs/{job}")
    await page.get_by_text("Traceback", exact=True).click()
    for copy, shown in (("Copy", "args"), ("Copy", "trace")):
        button = page.locator(f"[data-copy={shown}]")
        await expect(button).to_have_text(copy)
        await button.click()
        await expect(button).to_have_text("Copied")
        assert await page.evaluate("navigator.clipboard.readText()") == await page.locator(f"#{shown}").text_content()


async def test_nothing_moves_while_a_job_ends(reader: Reader) -> None:
    job = reader.kitchen.submit("hold", args={"gate": "still"})
    page = await reader.open(f"/jobs/{job}")
    await begun(page, job)
    script = "['#top-of-job', '#log', '#args', '#facts', '#attempts'].map(one => document.querySelector(one).offsetTop)"
    before = await page.evaluate(script)
    reader.kitchen.open_gate("still-ends")
    await expect(page.locator("#outcome")).to_contain_text("held")
    after = await page.evaluate(script)
    assert after[:4] == before[:4]


async def test_a_job_that_is_gone_may_have_been_removed(reader: Reader) -> None:
    page = await reader.open(f"/jobs/{'0' * 8}-0000-7000-8000-{'0' * 12}")
    await expect(page.get_by_text("It may have been removed by the retention policy")).to_be_visible()
    reader.seen.complaints.clear()  # the browser reports the 404


async def test_without_scripts_everything_is_there(chromium: Browser, kitchen: Kitchen) -> None:
    job = kitchen.submit("burn")
    await kitchen.job(job)
    context = await chromium.new_context(java_script_enabled=False)
    page = await (await watch(context, kitchen)).open(f"/jobs/{job}", live=False)
    await expect(page).to_have_title("✓ burn · Jalebi")
    await expect(page.locator("#top-of-job")).to_have_attribute("data-state", state("completed"))
    await expect(attempts(page)).to_have_count(3)
    await expect(page.locator("#outcome")).to_contain_text("crisp")
    for hidden in (".copy", "#notify", "#jump"):
        for one in await page.locator(hidden).all():
            await expect(one).to_be_hidden()
    await context.close()
