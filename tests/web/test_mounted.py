"""A shop as part of another application, under a prefix."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from websockets.asyncio.client import connect

from jalebi import Jalebi
from tests.support import Live, serving
from tests.targets.quick import quick_shop
from tests.web.raw import problem

PREFIX = "/tools/jobs"


def _home(_: Any) -> PlainTextResponse:
    return PlainTextResponse("home")


@asynccontextmanager
async def mounted(
    shop: Jalebi, lifespan: Callable[[Any], AbstractAsyncContextManager[None]] | None
) -> AsyncIterator[Live]:
    app = Starlette(routes=[Route("/", _home), Mount(PREFIX, shop)], lifespan=lifespan)
    try:
        async with serving(app, shop, PREFIX) as live:
            yield live
    finally:
        await shop.close()


@pytest.fixture(params=[True, False], ids=["with lifespan", "without lifespan"])
async def inside(request: pytest.FixtureRequest) -> AsyncIterator[Live]:
    """A shop mounted in an application that does, or does not, know of its lifespan."""
    shop = quick_shop()
    async with mounted(shop, shop.lifespan if request.param else None) as live:
        yield live


async def test_every_link_carries_the_prefix(inside: Live) -> None:
    answer = await inside.client.post("/v1/jobs", json={"kind": "chatty"})
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"{PREFIX}/v1/jobs/{job['id']}/status"
    assert all(link.startswith(f"{PREFIX}/") for link in job["links"].values())
    done = await inside.until(job["id"], "completed")
    assert done["links"] == job["links"]
    server = inside.url.removesuffix(PREFIX)
    moved = await inside.client.get(f"{server}{job['links']['status']}")
    assert (moved.status_code, moved.headers["location"]) == (303, job["links"]["result"])
    files = (await inside.client.get(f"{server}{job['links']['self']}/files")).json()["files"]
    assert files[0]["href"].startswith(f"{PREFIX}/v1/jobs/")
    assert (await inside.client.get(server + files[0]["href"])).content == b"some text\n"
    listed = (await inside.client.get("/v1/jobs")).json()["jobs"][0]
    assert listed["links"] == job["links"]


async def test_websockets_and_their_links_work_under_the_prefix(inside: Live) -> None:
    job = await inside.submit("steps", args={"count": 3})
    server = inside.ws.removesuffix(PREFIX)
    async with connect(f"{server}{job['links']['ws']}?after=0") as socket:
        heard = [json.loads(message) async for message in socket]
    events = [message for message in heard if message["type"] != "progress"]
    assert [event["seq"] for event in events] == [1, 2, 3]
    assert all(event["job"]["links"] == job["links"] for event in events)


async def test_problems_and_methods_are_told_under_the_prefix(inside: Live) -> None:
    problem(await inside.client.get("/nowhere"), 404, "not-found")
    wrong = await inside.client.put("/v1/jobs")
    problem(wrong, 405, "about:blank")
    assert wrong.headers["allow"] == "GET, HEAD, POST"
    assert (await inside.client.get(inside.url.removesuffix(PREFIX) + "/")).text == "home"


async def test_the_document_names_the_prefix_as_its_server(inside: Live) -> None:
    assert (await inside.client.get("/openapi.json")).json()["servers"] == [{"url": PREFIX}]


async def test_the_token_is_asked_for_under_the_prefix() -> None:
    shop = quick_shop(token="sugar", workers=False)
    async with mounted(shop, shop.lifespan) as live:
        problem(await live.client.get("/v1/jobs"), 401, "unauthorized")
        assert (await live.client.get("/livez")).status_code == 200
        assert (await live.client.get("/v1/jobs", headers={"Authorization": "Bearer sugar"})).status_code == 200
        page = await live.client.get("/v1/jobs", headers={"Accept": "text/html"})
        assert (page.status_code, page.headers["location"]) == (303, f"{PREFIX}/login?next=/v1/jobs")


async def test_two_shops_in_one_application_share_nothing() -> None:
    one, two = quick_shop(workers=False), quick_shop(workers=False)

    @asynccontextmanager
    async def both(_: Any) -> AsyncIterator[None]:
        async with one.lifespan(), two.lifespan():
            yield

    app = Starlette(routes=[Mount("/one", one), Mount("/two", two)], lifespan=both)
    async with serving(app, one) as live:
        assert (await live.client.post("/one/v1/jobs", json={"kind": "echo"})).status_code == 202
        assert len((await live.client.get("/one/v1/jobs")).json()["jobs"]) == 1
        assert (await live.client.get("/two/v1/jobs")).json()["jobs"] == []
