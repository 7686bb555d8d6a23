"""The dashboard's pages over HTTP: headers, escaping, filters, actions, logging in, files that are vendored."""

import asyncio
import errno
import hashlib
import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from jalebi import Jalebi, JobContext
from jalebi.assets import STATIC, TEMPLATES
from jalebi.context import Upload
from jalebi.errors import StorageUnavailable
from jalebi.jobs import Failed
from tests.support import Live, serving

HTML = {"Accept": "text/html,application/xhtml+xml"}
PAGES = [
    "/",
    "/jobs",
    "/kinds",
    "/kinds/typed",
    "/queues",
    "/workers",
    "/jobs/none",
    "/jobs?state=nonsense",
    "/nowhere",
]
EVIL = "<script>alert(1)</script>\"'&"


@pytest.fixture
def site(live: Live) -> httpx2.AsyncClient:
    live.client.headers.update(HTML)
    return live.client


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_forbids_what_it_does_not_need(site: httpx2.AsyncClient, path: str) -> None:
    answer = await site.get(path)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"
    assert len(re.findall(r"\bdata-live=", answer.text)) == 1


@pytest.mark.parametrize("path", sorted(TEMPLATES.rglob("*.html")), ids=lambda path: str(path.relative_to(TEMPLATES)))
def test_templates_are_small_and_have_nothing_inline(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 70
    assert not re.search(r"\sstyle=|<style|\son[a-z]+=|hx-on|javascript:|js:|<script(?![^>]*\ssrc=)", text)


def test_vendored_files_are_the_ones_that_were_looked_at() -> None:
    told = re.findall(r"^(\S+\.min\.js).*?sha256 ([0-9a-f]{64})", (STATIC / "VENDOR.txt").read_text(), re.S | re.M)
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in STATIC.glob("*.min.js")}
    assert dict(told) == found


async def test_static_files_are_kept_as_long_as_their_address_names_their_content(site: httpx2.AsyncClient) -> None:
    [address] = set(re.findall(r'href="(/static/app\.css\?v=[0-9a-f]+)"', (await site.get("/")).text))
    assert "immutable" in (await site.get(address)).headers["cache-control"]
    plain = await site.get("/static/app.css")
    assert plain.headers["cache-control"] == "no-cache"
    assert plain.headers["x-content-type-options"] == "nosniff"


async def test_what_callers_write_is_never_markup(live: Live, site: httpx2.AsyncClient) -> None:
    job = await live.submit("misbehave", args={"how": EVIL}, queue=EVIL, tags=[EVIL])
    await live.until(job["id"])
    for path in (f"/jobs/{job['id']}", "/jobs", "/", f"/jobs?q={EVIL}&tag={EVIL}&kind={EVIL}", "/queues"):
        text = (await site.get(path)).text
        assert "<script>alert" not in text
        assert EVIL in unescape(text) or path == "/"


async def test_errors_are_pages_for_people_and_documents_for_programs(site: httpx2.AsyncClient) -> None:
    page = await site.get("/jobs/none")
    assert page.status_code == 404
    assert page.text.startswith("<!doctype html>")
    document = await site.get("/jobs/none", headers={"Accept": "*/*"})
    assert document.headers["content-type"] == "application/problem+json"
    api = await site.get("/v1/jobs/none")
    assert api.headers["content-type"] == "application/problem+json"
    wrong = await site.get("/jobs?state=nonsense")
    assert wrong.status_code == 400
    assert "is not a state" in wrong.text


async def test_empty_filters_ask_for_nothing(live: Live, site: httpx2.AsyncClient) -> None:
    job = await live.submit("echo")
    text = (await site.get("/jobs?q=&kind=&queue=&tag=&unknown=1")).text
    assert f'data-job="{job["id"]}"' in text


async def test_actions_answer_with_redirects_and_refusals_with_pages(live: Live, site: httpx2.AsyncClient) -> None:
    job = await live.submit("steps", args={"count": 10_000})
    own = f"/jobs/{job['id']}"
    refused = await site.post(f"{own}/retry")
    assert refused.status_code == 409
    assert "only a finished job can be retried" in refused.text
    refused = await site.post(f"{own}/delete")
    assert refused.status_code == 409
    answer = await site.post(f"{own}/cancel", data={"back": "/jobs?state=running&q=a b"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/jobs?state=running&q=a%20b")
    await live.until(job["id"], "cancelled")
    answer = await site.post(f"{own}/retry")
    assert (answer.status_code, answer.headers["location"]) == (303, own)
    await site.post(f"{own}/cancel")
    await live.until(job["id"], "cancelled")
    assert (await site.get(f"{own}/delete")).status_code == 200
    answer = await site.post(f"{own}/delete")
    assert (answer.status_code, answer.headers["location"]) == (303, "/jobs")
    for action in ("cancel", "retry", "delete"):
        assert (await site.post(f"{own}/{action}")).status_code == 404


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "jobs", "/a\r\nb"])
async def test_a_redirect_never_leads_elsewhere(live: Live, site: httpx2.AsyncClient, target: str) -> None:
    job = await live.submit("echo", delay=500)
    answer = await site.post(f"/jobs/{job['id']}/cancel", data={"back": target})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/jobs/{job['id']}")


async def test_a_page_of_another_site_can_do_nothing(live: Live, site: httpx2.AsyncClient) -> None:
    job = await live.submit("echo", delay=500)
    answer = await site.post(f"/jobs/{job['id']}/cancel", headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403
    assert (await live.job(job["id"]))["state"] == "scheduled"


async def test_a_form_that_is_refused_comes_back_as_it_was(site: httpx2.AsyncClient) -> None:
    answer = await site.post("/kinds/typed", data={"title": "", "pages": EVIL, "option:priority": "high"})
    assert answer.status_code == 422
    assert EVIL in unescape(answer.text)
    assert "<script>alert" not in answer.text
    assert '<details class="beside" open>' in answer.text
    fine = await site.post("/kinds/typed", data={"title": "Q3", "pages": "7", "colour": "green", "draft": "true"})
    assert fine.status_code == 303
    job = (await site.get(f"/v1{fine.headers['location']}")).json()
    assert (job["args"]["pages"], job["args"]["colour"], job["args"]["draft"]) == (7, "green", True)


def hidden(page: httpx2.Response) -> str:
    """Return the key of the form on a page."""
    [key] = re.findall(r'<input type="hidden" name="option:key" value="([^"]+)"', page.text)
    return str(key)


async def sent(site: httpx2.AsyncClient, key: str, **values: str) -> str:
    """Send the form of the kind `echo` and return where it leads."""
    answer = await site.post("/kinds/echo", data={"option:key": key, **values})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


async def test_a_form_that_is_sent_twice_makes_one_job(site: httpx2.AsyncClient) -> None:
    key = hidden(await site.get("/kinds/echo"))
    both = await asyncio.gather(sent(site, key, value="1"), sent(site, key, value="1"))
    assert {*both, await sent(site, key, value="1")} == {both[0]}
    assert len((await site.get("/v1/jobs")).json()["jobs"]) == 1
    again = hidden(await site.get("/kinds/echo"))
    assert again != key
    assert await sent(site, again, value="1") != both[0]


async def test_a_form_that_is_changed_and_sent_again_makes_a_job_of_its_own(site: httpx2.AsyncClient) -> None:
    key = hidden(await site.get("/kinds/echo"))
    first, second = await sent(site, key, value="1"), await sent(site, key, value="2")
    third = await sent(site, key, value="2", **{"option:tags": "a"})
    assert len({first, second, third}) == 3
    assert await sent(site, key, value="2") == second


@pytest.mark.parametrize("key", ["", "form", "é" * 36, "x" * 100_000])
async def test_a_form_with_a_key_that_is_not_ours_is_new_each_time(site: httpx2.AsyncClient, key: str) -> None:
    assert await sent(site, key, value="1") != await sent(site, key, value="1")


async def test_a_key_of_a_form_is_no_key_of_the_api(live: Live, site: httpx2.AsyncClient) -> None:
    key = hidden(await site.get("/kinds/echo"))
    await sent(site, key, value="1")
    for name in (key, f"form {key}"):
        answer = await site.post("/v1/jobs", json={"kind": "echo"}, headers={"Idempotency-Key": name})
        assert (answer.status_code, answer.headers.get("idempotent-replayed")) == (202, None)


async def test_a_form_that_is_refused_keeps_its_key(site: httpx2.AsyncClient) -> None:
    key = hidden(await site.get("/kinds/typed"))
    refused = await site.post("/kinds/typed", data={"option:key": key, "title": ""})
    assert (refused.status_code, hidden(refused)) == (422, key)


async def test_a_form_whose_job_was_deleted_asks_whether_to_make_another(live: Live, site: httpx2.AsyncClient) -> None:
    key = hidden(await site.get("/kinds/echo"))
    path = await sent(site, key, value='"typed"')
    await live.until(path.rpartition("/")[2])
    await site.post(f"{path}/delete")
    asked = await site.post("/kinds/echo", data={"option:key": key, "value": '"typed"'})
    assert asked.status_code == 409
    assert "is deleted" in asked.text
    assert '"typed"' in unescape(asked.text)
    assert await sent(site, hidden(asked), value='"typed"') != path


async def test_a_file_that_comes_twice_makes_one_job() -> None:
    shop = Jalebi(database_url="sqlite://")

    @shop.job
    async def read(note: Upload) -> str:
        """Read a note."""
        return note.path.read_text()

    async with serving(shop, shop) as live:
        live.client.headers.update(HTML)
        key = hidden(await live.client.get("/kinds/read"))

        async def post(content: bytes) -> str:
            form = {"option:key": key}
            answer = await live.client.post("/kinds/read", data=form, files={"note": ("n.txt", content)})
            return str(answer.headers["location"])

        assert await post(b"one") == await post(b"one") != await post(b"two")


async def test_a_file_that_the_disk_does_not_take_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Jalebi(database_url="sqlite://")

    @shop.job
    async def read(note: Upload, title: str) -> None:
        """Read a note."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with serving(shop, shop) as live:
        live.client.headers.update(HTML)
        monkeypatch.setattr((await shop.open()).files, "_keep", full)
        refused = await live.client.post("/kinds/read", data={"title": "typed"}, files={"note": ("n.txt", b"one")})
        assert refused.status_code == 503
        assert "The file was not stored: No space left on device." in refused.text
        assert 'value="typed"' in refused.text


async def test_what_was_typed_stays_while_the_storage_is_in_trouble(
    live: Live, site: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, detail = (await live.shop.open()).queue, "The write was not stored: the disk is full."
    monkeypatch.setattr(queue.store, "submit", AsyncMock(side_effect=StorageUnavailable(detail)))
    key = hidden(await site.get("/kinds/typed"))
    refused = await site.post("/kinds/typed", data={"option:key": key, "title": EVIL[:30], "pages": "7"})
    assert (refused.status_code, hidden(refused)) == (503, key)
    assert detail in refused.text
    assert EVIL[:30] in unescape(refused.text)
    monkeypatch.undo()
    assert (await site.post("/kinds/typed", data={"option:key": key, "title": "x"})).status_code == 303


async def test_trouble_with_the_storage_stands_on_every_page(
    live: Live, site: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await live.submit("echo")
    paths = [*PAGES, f"/jobs/{job['id']}"]
    for path in paths:
        assert '<p id="trouble" class="banner" role="alert" hidden></p>' in (await site.get(path)).text
    store = (await live.shop.open()).store
    monkeypatch.setattr(type(store), "trouble", "the disk is full")
    for path in paths:
        text = (await site.get(path)).text
        assert "The disk is full: nothing new is accepted while this lasts." in text
        assert '<p id="trouble" class="banner" role="alert">' in text


async def test_who_is_not_logged_in_hears_nothing_of_the_storage(
    guarded: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type((await guarded.shop.open()).store), "trouble", "the disk is full")
    assert "disk" not in (await guarded.client.get("/login")).text


async def test_a_form_over_the_limit_is_refused_while_it_comes(site: httpx2.AsyncClient) -> None:
    answer = await site.post("/kinds/echo", content=b"value=" + b"x" * (4 << 20), headers={
        "Content-Type": "application/x-www-form-urlencoded",
    })  # fmt: skip
    assert answer.status_code == 413


async def test_pages_show_what_there_is(live: Live, site: httpx2.AsyncClient) -> None:
    job = await live.submit("chatty", tags=["a tag"])
    await live.until(job["id"], "completed")
    page = (await site.get(f"/jobs/{job['id']}")).text
    for part in ("line 1", "notes.txt", "zeros ☃.bin", "100 kB", "a tag", "completed", "Result"):
        assert part in page
    assert f'aria-label="Progress of chatty {job["id"]}"' in page
    assert "wait_for" in (await site.get("/kinds")).text
    assert "0 of 10 slots busy" in (await site.get("/workers")).text


async def test_a_job_that_is_over_says_until_when_it_is_kept(live: Live, site: httpx2.AsyncClient) -> None:
    job = await live.submit("echo")
    over = await live.until(job["id"])
    page = (await site.get(f"/jobs/{job['id']}")).text
    assert re.search(rf'Kept until</dt><dd><time datetime="{over["expires_at"]}"', page)
    later = await live.submit("echo", delay=500)
    assert "Kept until" not in (await site.get(f"/jobs/{later['id']}")).text


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ("mark", "it is marked<"),
        ("warn", "its log says so"),
        ("cancel", "it is cancelled"),
        ("retry", "the next one starts"),
    ],
)
async def test_a_kind_says_what_happens_if_it_stalls(wish: Any, words: str) -> None:
    shop = Jalebi(database_url="sqlite://")

    @shop.job(on_stall=wish)
    async def slow() -> None:
        """Take its time."""

    async with serving(shop, shop) as live:
        assert words in (await live.client.get("/kinds/slow", headers=HTML)).text


LAST_WORDS = {
    "exit_code": None, "signal": "SIGKILL", "log": [EVIL, "more"], "stack": f"File {EVIL}", "peak_memory": 212_000_000,
    "cpu_seconds": 12.3,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "there", "missing"),
    [
        ({}, ["SIGKILL", "212 MB", "12 s", EVIL, "more", "Where it was"], ["Exit code"]),
        ({"signal": None, "exit_code": 0}, ["Exit code</dt><dd>0<"], ["Ended by"]),
        (dict.fromkeys(LAST_WORDS), [], ["Ended by", "Exit code", "Peak memory", "CPU", "log lines", "Where it was"]),
    ],
)
async def test_last_words_are_shown_as_far_as_there_are_some(
    quick: Live, changed: dict[str, Any], there: list[str], missing: list[str]
) -> None:
    job = await quick.submit("hold")
    await quick.until(job["id"], "running")
    error = {"type": "ProcessDied", "message": "It died.", "traceback": None, "last_words": LAST_WORDS | changed}
    await (await quick.shop.open()).store.settle(job["id"], 1, Failed(error, retry=False), None)
    page = (await quick.client.get(f"/jobs/{job['id']}", headers=HTML)).text
    assert "<script>alert" not in page
    assert [part for part in there if part not in unescape(page)] == []
    assert [part for part in missing if part in page] == []


@pytest.fixture
async def guarded() -> AsyncIterator[Live]:
    """A shop that asks for a token, mounted under a prefix."""
    shop = Jalebi(database_url="sqlite://", token="sesame")

    @shop.job
    async def nothing(ctx: JobContext) -> None:
        """Do nothing."""

    app = Starlette(routes=[Mount("/tools/jobs", shop)], lifespan=shop.lifespan)
    async with serving(app, shop, "/tools/jobs") as live:
        live.client.headers.update(HTML)
        yield live


async def test_who_has_no_session_is_asked_for_the_token_and_led_on(guarded: Live) -> None:
    site = guarded.client
    asked = await site.get("/kinds/nothing")
    assert (asked.status_code, asked.headers["location"][:23]) == (303, "/tools/jobs/login?next=")
    filtered = await site.get("/jobs?state=failed&q=a%20b")
    assert filtered.headers["location"] == "/tools/jobs/login?next=/jobs%3Fstate%3Dfailed%26q%3Da%2520b"
    form = await site.get("/login?next=/kinds/nothing")
    assert form.status_code == 200
    assert "data-live" not in form.text
    assert (await site.post("/login", data={"token": "pepper", "next": "/"})).status_code == 401
    right = await site.post("/login", data={"token": "sesame", "next": "/kinds/nothing"})
    assert (right.status_code, right.headers["location"]) == (303, "/tools/jobs/kinds/nothing")
    cookie = right.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/tools/jobs" in cookie
    assert "sesame" not in cookie
    assert (await site.get("/kinds/nothing")).status_code == 200
    assert (await site.get("/login")).headers["location"] == "/tools/jobs/"


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", ""])
async def test_logging_in_never_leads_elsewhere(guarded: Live, target: str) -> None:
    answer = await guarded.client.post("/login", data={"token": "sesame", "next": target})
    assert answer.headers["location"] == "/tools/jobs/"


async def test_without_a_token_there_is_nothing_to_log_in_to(site: httpx2.AsyncClient) -> None:
    assert (await site.get("/login")).headers["location"] == "/"
    assert (await site.post("/login", data={"token": "x"})).headers["location"] == "/"


async def test_under_a_prefix_every_address_has_it(guarded: Live) -> None:
    await guarded.client.post("/login", data={"token": "sesame"})
    done = await guarded.client.post("/kinds/nothing")
    job = done.headers["location"].removeprefix("/tools/jobs")
    for path in ("/", "/jobs", job, f"{job}/delete", "/kinds", "/kinds/nothing", "/queues", "/workers", "/nowhere"):
        text = (await guarded.client.get(path)).text
        addresses = re.findall(r'\b(?:href|src|action|hx-ws:connect)="([^"#][^"]*)"', text)
        assert addresses
        assert [one for one in addresses if not one.startswith("/tools/jobs/")] == []
