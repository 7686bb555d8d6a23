"""The dashboard's pages over HTTP: headers, escaping, filters, actions, logging in, files that are vendored."""

import hashlib
import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from jalebi import Jalebi, JobContext
from jalebi.assets import STATIC, TEMPLATES
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
