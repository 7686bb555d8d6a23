"""Who is let in: the token, and pages of other sites."""

from collections.abc import AsyncIterator

import pytest
from starlette.routing import Mount, Route
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from jalebi.web import ROUTES
from tests.support import Live, serving
from tests.targets.quick import quick_shop
from tests.web.raw import exchange, problem

TOKEN = "sugar-and-saffron"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def locked() -> AsyncIterator[Live]:
    """A server that wants a token."""
    shop = quick_shop(token=TOKEN, workers=False)
    async with serving(shop, shop) as found:
        yield found


def _routes() -> list[tuple[str, str]]:
    found = []
    for route in ROUTES:
        if isinstance(route, Route):
            path = route.path.replace("{id}", "some").replace("{name}", "some")
            found += [(method, path) for method in sorted(route.methods or set())]
        elif isinstance(route, Mount):
            found.append(("GET", f"{route.path}/some"))
    return [*found, ("GET", "/nowhere"), ("PUT", "/v1/jobs")]


async def test_without_the_token_nothing_but_the_open_doors_answers(locked: Live) -> None:
    for method, path in _routes():
        answer = await locked.client.request(method, path, headers={"Accept": "application/json"})
        if path in {"/login", "/livez", "/readyz"} or path.startswith("/static/"):
            assert method == "POST" or answer.status_code != 401, path  # a login without the token fails as such
            continue
        if path.startswith("/share/"):  # the link is the right, and this is none
            assert answer.status_code == 403, path
            continue
        assert answer.status_code == 401, (method, path)
        assert answer.headers["www-authenticate"] == "Bearer"
        if method != "HEAD":
            problem(answer, 401, "unauthorized")


async def test_paths_that_only_begin_like_an_open_door_are_closed(locked: Live) -> None:
    for path in ["/livezz", "/livez/", "/readyz/x", "/loginx", "/static", "/static%2f..%2fv1/jobs"]:
        assert (await locked.client.get(path)).status_code in {401, 404}, path
        assert (await locked.client.get(path, headers=BEARER)).status_code in {303, 307, 404}, path
    for path in ["/static/../v1/jobs", "/static/%2e%2e/v1/jobs", "/livez/../v1/jobs"]:
        answer = await exchange(locked, f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        assert answer.status in {401, 404}
        assert b'"jobs"' not in answer.body


async def test_the_token_opens_every_door(locked: Live) -> None:
    submitted = await locked.client.post("/v1/jobs", json={"kind": "echo"}, headers=BEARER)
    assert submitted.status_code == 202
    for path in ["/v1/jobs", "/v1/kinds", "/v1/stats", "/openapi.json", submitted.headers["location"]]:
        assert (await locked.client.get(path, headers=BEARER)).status_code == 200
    spec = (await locked.client.get("/openapi.json", headers=BEARER)).json()
    assert spec["security"] == [{"token": []}]


@pytest.mark.parametrize(
    "value",
    ["", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN.upper()}", f"Basic {TOKEN}",
     TOKEN, "Bearer é", f"Bearer {TOKEN} {TOKEN}", f"Bearer\0{TOKEN}"],
)  # fmt: skip
def test_only_the_very_token_counts(value: str) -> None:
    from starlette.datastructures import Headers

    from jalebi.web.guard import authenticated

    assert not authenticated(Headers({"authorization": value}), TOKEN)
    assert authenticated(Headers({"authorization": f"bearer  {TOKEN} "}), TOKEN)


async def test_a_body_is_not_read_for_strangers(locked: Live) -> None:
    answer = await exchange(locked, b"POST /v1/jobs HTTP/1.1\r\nHost: here\r\nContent-Length: 99999999\r\n\r\n")
    assert answer.status == 401


async def test_websockets_need_the_token_too(locked: Live) -> None:
    job = (await locked.client.post("/v1/jobs", json={"kind": "echo"}, headers=BEARER)).json()
    for path in [f"/ws/jobs/{job['id']}", "/ws/jobs/none", "/ws/events", "/ws/nowhere"]:
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            with pytest.raises(InvalidStatus) as refused:
                await connect(locked.ws + path, additional_headers=headers)
            assert refused.value.response.status_code == 401
            assert b"urn:jalebi:problem:unauthorized" in (refused.value.response.body or b"")
    async with connect(f"{locked.ws}/ws/jobs/{job['id']}", additional_headers=BEARER) as socket:
        assert '"snapshot"' in str(await socket.recv())


def _origins(live: Live) -> list[tuple[str | None, bool]]:
    own = live.url
    port = int(own.rpartition(":")[2])
    return [
        (None, True),
        (own, True),
        (own.upper().replace("HTTP:", "http:"), True),
        ("https://partner.example", True),
        ("null", False),
        ("", False),
        ("https://evil.example", False),
        (f"http://127.0.0.1:{port + 1}", False),
        ("http://127.0.0.1", False),
        (f"http://localhost:{port}", False),
        (f"http://127.0.0.1:{port}.evil.example", False),
        (f"http://127.0.0.1.evil.example:{port}", False),
        (f"http://evil.example@127.0.0.1:{port + 1}", False),
        ("https://partner.example.evil.example", False),
        ("http://partner.example", False),
        ("file://", False),
        (f"chrome-extension://127.0.0.1:{port}", False),
        ("://", False),
        ("http://[", False),
    ]


@pytest.fixture
async def partnered() -> AsyncIterator[Live]:
    """A server whose settings let one other site in."""
    shop = quick_shop(workers=False, origins=("https://partner.example",))
    async with serving(shop, shop) as found:
        yield found


async def test_websockets_of_other_sites_are_refused(partnered: Live) -> None:
    for path in ["/ws/events", "/ws/jobs/none"]:
        for origin, fine in _origins(partnered):
            headers = {} if origin is None else {"Origin": origin}
            opening = connect(partnered.ws + path, additional_headers=headers)
            if fine:
                await (await opening).close()
                continue
            with pytest.raises(InvalidStatus) as refused:
                await opening
            assert refused.value.response.status_code == 403, origin
            assert b"urn:jalebi:problem:forbidden" in (refused.value.response.body or b"")


async def test_changes_by_pages_of_other_sites_are_refused_and_looks_are_not(partnered: Live) -> None:
    job = await partnered.submit("echo")
    for origin, fine in _origins(partnered):
        headers = {} if origin is None else {"Origin": origin}
        submitted = await partnered.client.post("/v1/jobs", json={"kind": "echo"}, headers=headers)
        deleted = await partnered.client.delete(f"/v1/jobs/{job['id']}x", headers=headers)
        cancelled = await partnered.client.post(f"/v1/jobs/{job['id']}x/cancel", headers=headers)
        if fine:
            assert (submitted.status_code, deleted.status_code, cancelled.status_code) == (202, 404, 404), origin
        else:
            for answer in (submitted, deleted, cancelled):
                problem(answer, 403, "forbidden")
        assert (await partnered.client.get("/v1/jobs", headers=headers)).status_code == 200


async def test_a_page_without_origin_is_known_by_what_its_browser_says(partnered: Live) -> None:
    for said, status in [("cross-site", 403), ("same-site", 403), ("same-origin", 202), ("none", 202)]:
        answer = await partnered.client.post("/v1/jobs", json={"kind": "echo"}, headers={"Sec-Fetch-Site": said})
        assert answer.status_code == status


async def test_an_origin_without_port_means_the_usual_one(partnered: Live) -> None:
    for host, origin, status in [
        ("jalebi.example", "http://jalebi.example", 202),
        ("jalebi.example", "https://jalebi.example", 202),
        ("jalebi.example:443", "https://jalebi.example", 202),
        ("jalebi.example:80", "https://jalebi.example", 403),
        ("jalebi.example", "http://jalebi.example:8080", 403),
        ("[::1]:8000", "http://[::1]:8000", 202),
        ("[::1]", "http://[::1]", 202),
        ("[::1]:8000", "http://[::1]", 403),
    ]:
        body = b'{"kind":"echo"}'
        request = f"POST /v1/jobs HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nContent-Type: application/json\r\n"
        answer = await exchange(partnered, f"{request}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert answer.status == status, (host, origin)
