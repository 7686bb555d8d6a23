"""Share links: one job's live page for whoever has the link, until its time, and nothing else."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from jalebi.jobs import Progress
from tests.support import Live, eventually, serving
from tests.targets.quick import quick_shop
from tests.web.raw import problem

TOKEN = "only-for-the-shop"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@pytest.fixture
async def locked() -> AsyncIterator[Live]:
    """A shop that asks everybody for its token."""
    shop = quick_shop(token=TOKEN)
    async with serving(shop, shop) as live:
        yield live


async def shared(live: Live, kind: str, body: dict[str, Any] | None = None, **more: Any) -> tuple[str, str]:
    """Submit a job; return its id and the path of a link to it."""
    answer = await live.client.post("/v1/jobs", json={"kind": kind, **more}, headers=BEARER)
    job_id = answer.json()["id"]
    made = await live.client.post(f"/v1/jobs/{job_id}/share", json=body or {}, headers=BEARER)
    assert made.status_code == 201, made.text
    url = made.json()["url"]
    assert made.headers["location"] == url
    assert url.startswith(f"{live.url}/share/")
    return job_id, url.removeprefix(live.url)


async def test_who_has_the_link_sees_how_the_job_is_and_nothing_of_what_it_was_given(locked: Live) -> None:
    job_id, link = await shared(locked, "echo", args={"value": "a secret"})
    await eventually(lambda: over(locked, link))
    status = await locked.client.get(f"{link}/status")
    assert status.headers["access-control-allow-origin"] == "*"
    assert status.headers["cache-control"] == "no-store"
    assert status.json()["state"] == "completed"
    page = await locked.client.get(link)
    assert page.status_code == 200
    for header, value in (("referrer-policy", "no-referrer"), ("x-robots-tag", "noindex")):
        assert page.headers[header] == value
    stream = await locked.client.get(f"{link}/events")
    badge = await locked.client.get(f"{link}/badge.svg")
    for answer in (status, page, stream, badge):
        assert "a secret" not in answer.text
        assert TOKEN not in answer.text
    assert job_id not in status.text + stream.text + badge.text


async def over(live: Live, link: str) -> bool | None:
    return (await live.client.get(f"{link}/status")).json()["finished_at"] is not None or None


async def test_a_link_opens_nothing_but_its_own_job(locked: Live) -> None:
    job_id, link = await shared(locked, "echo")
    own = f"/v1/jobs/{job_id}"
    for path in (
        own, f"{own}/result", f"{own}/logs", f"{own}/events", f"{own}/badge.svg", "/v1/jobs", f"/jobs/{job_id}", "/",
        f"{link}/../../v1/jobs", f"{link}%2f..%2f..%2fv1%2fjobs",
    ):  # fmt: skip
        answer = await locked.client.get(path, headers={"Referer": f"{locked.url}{link}"})
        assert answer.status_code in {401, 403, 404}, (path, answer.status_code)
    for method, path in (("POST", f"/v1/jobs/{job_id}/share"), ("POST", f"{link}/status"), ("DELETE", link)):
        answer = await locked.client.request(method, path)
        assert answer.status_code in {401, 405}, path


async def test_a_link_that_is_changed_anywhere_is_none_of_ours(locked: Live) -> None:
    _, link = await shared(locked, "echo")
    token = link.removeprefix("/share/")
    for place, char in enumerate(token):
        other = ALPHABET[(ALPHABET.index(char) + 1 + place % 62) % 64]
        changed = f"/share/{token[:place]}{other}{token[place + 1 :]}"
        assert problem(await locked.client.get(f"{changed}/status"), 403, "forbidden")
    for wrong in (token[:-1], f"{token}A", f"{token}=", token.swapcase(), "A" * 52, "x", f"{token[:-4]}====", "é" * 52):
        answer = await locked.client.get(f"/share/{wrong}/events")
        assert problem(answer, 403, "forbidden")
        assert answer.headers["access-control-allow-origin"] == "*"
        page = await locked.client.get(f"/share/{wrong}")
        assert page.status_code == 403
        assert "nothing to see" in page.text


async def test_a_key_of_another_installation_opens_nothing(locked: Live) -> None:
    _, link = await shared(locked, "echo")
    other = quick_shop()
    async with serving(other, other) as live:
        assert (await live.client.get(link)).status_code == 403


async def test_a_link_ends_at_its_time_and_ends_its_streams(locked: Live, tmp_path: Path) -> None:
    rooms = await locked.shop.open()
    job_id, _ = await shared(locked, "wait_for", args={"path": str(tmp_path / "go")})
    token = await rooms.shares.token(job_id, rooms.store.clock() + 0.3)
    async with asyncio.timeout(10), locked.client.stream("GET", f"/share/{token}/events") as stream:
        assert stream.status_code == 200
        assert '"state":"running"' in "".join([line async for line in stream.aiter_lines()])
    answer = await locked.client.get(f"/share/{token}/status")
    assert "expired" in problem(answer, 403, "forbidden")["detail"]


async def test_the_link_of_a_deleted_job_says_so_kindly(locked: Live) -> None:
    job_id, link = await shared(locked, "echo", delay=900)
    await locked.client.delete(f"/v1/jobs/{job_id}", headers=BEARER)
    assert problem(await locked.client.get(f"{link}/status"), 404, "not-found")
    page = await locked.client.get(link)
    assert page.status_code == 404
    assert "was deleted" in page.text


async def test_a_stream_of_a_link_tells_the_way_of_the_job_and_resumes(locked: Live) -> None:
    _, link = await shared(locked, "chatty", args={"lines": 3})
    text = (await locked.client.get(f"{link}/events")).text
    told = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    assert [one["type"] for one in told if one["type"] != "progress"] == ["created", "started", "completed"]
    assert "line 1" not in text
    assert told[-1]["job"]["state"] == "completed"
    last = told[-1]["seq"]
    ids = [int(line[4:]) for line in text.splitlines() if line.startswith("id: ")]
    assert ids == list(range(last + 1))
    rest = await locked.client.get(f"{link}/events", headers={"Last-Event-ID": str(last - 1)})
    assert '"type":"completed"' in next(line for line in rest.text.splitlines() if line.startswith("data: "))
    assert (await locked.client.get(f"{link}/events?after={last}")).status_code == 204
    assert (await locked.client.get(f"{link}/events?after=x")).status_code == 400
    assert (await locked.client.get(f"{link}/events?kind=echo")).status_code == 422


async def test_a_failure_is_told_by_its_sentence_alone(locked: Live) -> None:
    _, link = await shared(locked, "fail", args={"message": "no paper <b>"})
    await eventually(lambda: over(locked, link))
    found = (await locked.client.get(f"{link}/status")).json()
    assert found["error"] == {"message": "no paper <b>"}
    page = (await locked.client.get(link)).text
    assert "no paper &lt;b&gt;" in page
    assert "raceback" not in page


@pytest.mark.parametrize("body", [{"expires_in": 59}, {"expires_in": 90 * 86400 + 1}, {"expires_in": "1"}, {"more": 1}])
async def test_a_link_that_can_not_be_is_refused(locked: Live, body: dict[str, Any]) -> None:
    answer = await locked.client.post("/v1/jobs", json={"kind": "echo"}, headers=BEARER)
    refused = await locked.client.post(f"/v1/jobs/{answer.json()['id']}/share", json=body, headers=BEARER)
    problem(refused, 422, "validation-failed")
    assert (await locked.client.post("/v1/jobs/none/share", json={}, headers=BEARER)).status_code == 404


async def test_links_lead_to_where_the_server_is_known_to_the_world() -> None:
    shop = quick_shop(public_url="https://jobs.example.com/shop/")
    async with serving(shop, shop) as live:
        job = await live.submit("echo")
        made = await live.client.post(f"/v1/jobs/{job['id']}/share")
        assert made.json()["url"].startswith("https://jobs.example.com/shop/share/")
        page = await live.client.post(f"/jobs/{job['id']}/share")
        assert page.status_code == 201
        assert "https://jobs.example.com/shop/share/" in page.text


# The badge


async def test_a_badge_shows_state_and_percent_and_is_asked_for_again(quick: Live) -> None:
    held = await quick.submit("hold")

    async def quarter() -> str | None:
        text = (await quick.client.get(f"/v1/jobs/{held['id']}/badge.svg")).text
        return text if "running 25 %" in text else None

    assert "hold: running 25 %" in await eventually(quarter)
    job = await quick.submit("odd:name.of-a_kind")
    await quick.until(job["id"], "completed")
    badge = await quick.client.get(f"/v1/jobs/{job['id']}/badge.svg")
    assert badge.headers["content-type"] == "image/svg+xml"
    assert badge.headers["cache-control"] == "no-cache"
    assert "script" not in badge.text
    root = ElementTree.fromstring(badge.text)
    assert root.attrib["role"] == "img"
    assert root[0].text == "odd:name.of-a_kind: completed"
    again = await quick.client.get(f"/v1/jobs/{job['id']}/badge.svg", headers={"If-None-Match": badge.headers["etag"]})
    assert again.status_code == 304
    assert (await quick.client.get("/v1/jobs/none/badge.svg")).status_code == 404
    assert (await quick.client.get(f"/v1/jobs/{job['id']}/badge.svg?style=flat")).status_code == 422


async def test_a_badge_holds_whatever_a_job_says_of_itself(quick: Live) -> None:
    held = await quick.submit("hold")
    await quick.until(held["id"], "running")
    rooms = await quick.shop.open()
    running = await rooms.queue.get(held["id"])
    rooms.hub.report(running, partial(Progress, 3, None, "<b>&\x07\u202e" * 20, updated_at=rooms.store.clock()))
    root = ElementTree.fromstring((await quick.client.get(f"/v1/jobs/{held['id']}/badge.svg")).text)
    assert str(root[0].text).startswith("hold: running 3 <b>&??<b>")
    assert str(root[0].text).endswith("…")
