"""Every page that links lead to, mounted under a prefix: its headers, addresses and markup; scripts and styles too."""

import re
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from jalebi.assets import STATIC, TEMPLATES
from tests.crawl import Page, crawl
from tests.support import Live, serving
from tests.targets import kinds

PREFIX = "/tools/jobs"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
NAMES = ["/", "/jobs", "/kinds", "/queues", "/workers", "/schedules", "/errors", "/system", "/help"]
INLINE = re.compile(r"\s(style|on[a-z]+|hx-on[^=\s]*)\s*=|<style|javascript:|\bjs:", re.I)
SCRIPT = re.compile(r"<script(?P<attributes>[^>]*)>(?P<content>.*?)</script>", re.S | re.I)


def inline(text: str) -> list[str]:
    """Return what of some markup the policy would forbid."""
    scripts = [found for found in SCRIPT.finditer(text) if found["content"].strip()]
    wrong = [one[0][:80] for one in scripts if not re.search(r'type="application/(ld\+)?json"', one["attributes"])]
    outside = SCRIPT.sub("", text)
    return wrong + [found[0] for tag in re.findall(r"<[a-z][^>]*>", outside) for found in INLINE.finditer(tag)]


@pytest.fixture
async def pages() -> AsyncIterator[tuple[Live, list[Page]]]:
    """Every page of a shop in which something has happened."""
    shop = kinds.make_shop(database_url="sqlite://", cancel_grace=0.6, block_warning=60)
    app = Starlette(routes=[Mount(PREFIX, shop)], lifespan=shop.lifespan)
    async with serving(app, shop, PREFIX) as live:
        for kind, args in (("echo", {}), ("misbehave", {"how": "burst"})):
            await live.until((await live.submit(kind, args=args))["id"])
        runs = await live.submit("steps", args={"count": 10_000}, tags=["a b&c"])
        await live.submit("echo", delay=900)
        async with httpx2.AsyncClient(base_url=live.url.removesuffix(PREFIX), timeout=20) as client:
            found = await crawl(client, PREFIX, ["/", "/jobs?state=failed", f"/jobs/{runs['id']}"])
        await live.client.post(f"/v1/jobs/{runs['id']}/cancel")
        yield live, found


async def test_every_link_stays_under_the_prefix_and_leads_somewhere(pages: tuple[Live, list[Page]]) -> None:
    _, found = pages
    visited = {page.path.partition("?")[0].removeprefix(PREFIX) or "/" for page in found}
    assert set(NAMES) <= visited
    assert {page.path: page.answer.status_code for page in found if page.answer.status_code >= 400} == {}
    outside = {
        (page.path, name, value)
        for page in found
        for name, value in page.points
        if not value.startswith(("#", "?", "data:")) and not urlsplit(value).path.startswith(f"{PREFIX}/")
    }
    assert outside == set()


async def test_every_page_has_the_same_policy_and_nothing_inline(pages: tuple[Live, list[Page]]) -> None:
    shown = [page for page in pages[1] if page.is_html]
    assert len(shown) > len(NAMES)
    for page in shown:
        assert page.answer.headers["content-security-policy"] == POLICY, page.path
        assert page.answer.headers["x-content-type-options"] == "nosniff", page.path
        assert page.answer.headers["referrer-policy"] == "same-origin", page.path
        assert inline(page.answer.text) == [], page.path


async def test_every_page_has_one_first_heading_and_none_left_out(pages: tuple[Live, list[Page]]) -> None:
    for page in pages[1]:
        if page.is_html:
            levels = [int(level) for level in re.findall(r"<h([1-6])\b", page.answer.text)]
            assert levels.count(1) == 1, page.path
            assert levels[0] == 1, page.path
            assert all(after - before <= 1 for before, after in pairwise(levels)), page.path
            assert len(re.findall(r"<main\b", page.answer.text)) == 1, page.path


async def test_no_id_stands_twice_on_a_page(pages: tuple[Live, list[Page]]) -> None:
    for page in pages[1]:
        ids = re.findall(r'\sid="([^"]+)"', page.answer.text) if page.is_html else []
        assert sorted(ids) == sorted(set(ids)), page.path


@pytest.mark.parametrize("path", sorted(TEMPLATES.rglob("*.html")), ids=lambda path: str(path.relative_to(TEMPLATES)))
def test_no_template_has_a_script_a_style_or_a_handler_of_its_own(path: Path) -> None:
    assert inline(re.sub(r"\{%.*?%\}|\{#.*?#\}", " ", path.read_text(), flags=re.S)) == []


@pytest.mark.parametrize(
    "path", [path for path in sorted(STATIC.glob("*.js")) if ".min." not in path.name], ids=lambda path: path.name
)
def test_no_script_makes_code_from_text(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\beval\(|new Function|\.innerHTML\s*=|insertAdjacentHTML|document\.write", text)
    assert not re.search(r"setAttribute\(\s*['\"](style|on)", text)
    assert text.count("\n") <= 400


@pytest.mark.parametrize(
    "path", [path for path in sorted(STATIC.glob("*.css")) if ".min." not in path.name], ids=lambda path: path.name
)
def test_every_style_is_our_own_and_in_a_layer(path: Path) -> None:
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
    assert "url(" not in text.replace("url(#", "")
    assert "@import" not in text
    depth, outside = 0, ""
    for char in text:
        depth += {"{": 1, "}": -1}.get(char, 0)
        outside += char if depth == 0 else ""
    assert depth == 0
    assert re.fullmatch(r"[\s}]*(@layer [\w, ]+[;\s}]+)*", outside), outside


async def test_what_was_done_is_said_once_and_only_by_the_next_page(pages: tuple[Live, list[Page]]) -> None:
    live, _ = pages
    html = {"Accept": "text/html"}
    job = await live.submit("steps", args={"count": 10_000})
    answer = await live.client.post(f"/jobs/{job['id']}/cancel", headers=html)
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert f"Path={PREFIX}" in cookie
    assert "SameSite=strict" in cookie
    again = await live.client.get("/jobs", headers={**html, "HX-Request": "true"})
    assert 'id="done"' not in again.text
    assert 'id="done"' in (await live.client.get("/jobs", headers=html)).text
    assert 'id="done"' not in (await live.client.get("/jobs", headers=html)).text
    live.client.cookies.set("jalebi_done", "<b>anything</b>")
    assert 'id="done"' not in (await live.client.get("/jobs", headers=html)).text
