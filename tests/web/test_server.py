"""Methods and paths that are not there, kinds, figures, and health."""

import re

import pytest

from tests.support import Live
from tests.web.raw import exchange, problem

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def test_a_method_that_a_path_does_not_know_is_told_all_that_it_knows(idle: Live) -> None:
    job = await idle.submit("echo")
    for method, path, allowed in [
        ("PUT", "/v1/jobs", "GET, HEAD, POST"),
        ("DELETE", "/v1/jobs", "GET, HEAD, POST"),
        ("PATCH", f"/v1/jobs/{job['id']}", "DELETE, GET, HEAD"),
        ("POST", f"/v1/jobs/{job['id']}/status", "DELETE, GET, HEAD"),
        ("GET", f"/v1/jobs/{job['id']}/cancel", "POST"),
        ("POST", "/v1/stats", "GET, HEAD"),
        ("TRACE", "/livez", "GET, HEAD"),
        ("OPTIONS", "/v1/jobs", "GET, HEAD, POST"),
    ]:
        answer = await idle.client.request(method, path)
        problem(answer, 405, "about:blank")
        assert answer.headers["allow"] == allowed


async def test_a_path_that_is_not_there_is_a_problem_too(idle: Live) -> None:
    for path in ["/v1", "/v1/", "/v1/nothing", "/v2/jobs", "/v1/jobs/a/b/c", "/ws/events", "/%2e%2e/etc/passwd"]:
        problem(await idle.client.get(path), 404, "not-found")


async def test_head_has_the_headers_of_get_and_no_body(quick: Live) -> None:
    job = await quick.until((await quick.submit("chatty"))["id"], "completed")
    for path in ["", "/status", "/result", "/logs", "/files", "/files/notes.txt", "/nothing"]:
        path = f"/v1/jobs/{job['id']}{path}"
        full = await quick.client.get(path)
        head = await exchange(quick, f"HEAD {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        assert head.status == full.status_code
        assert head.headers["content-type"] == full.headers["content-type"]
        assert head.headers.get("content-length") == full.headers.get("content-length")
        assert head.body == b""


async def test_kinds_are_listed_with_options_schema_and_durations(quick: Live) -> None:
    await quick.until((await quick.submit("echo"))["id"], "completed")
    listed = (await quick.client.get("/v1/kinds")).json()["kinds"]
    names = [kind["name"] for kind in listed]
    assert names == sorted(names)
    echo = (await quick.client.get("/v1/kinds/echo")).json()
    assert echo in listed
    assert echo["description"] == "Return what was given."
    assert echo["options"]["isolation"] == "loop"
    assert echo["duration"]["p50"] >= 0
    typed = (await quick.client.get("/v1/kinds/typed")).json()
    assert typed["args_schema"]["required"] == ["title"]
    assert typed["duration"] == {"p50": None, "p95": None}
    assert (await quick.client.get("/v1/kinds/odd:name.of-a_kind")).json()["options"]["queue"] == "odd"
    for name in ["no", "Echo", "%00"]:
        problem(await quick.client.get(f"/v1/kinds/{name}"), 404, "not-found")


async def test_figures_are_exact_while_jobs_come_and_go(quick: Live) -> None:
    await quick.submit("echo", delay=3600)
    deleted = await quick.submit("echo", delay=3600)
    await quick.client.delete(f"/v1/jobs/{deleted['id']}")
    held = await quick.submit("hold")
    await quick.until(held["id"], "running")
    for kind, state in [("echo", "completed"), ("echo", "completed"), ("fail", "failed")]:
        await quick.until((await quick.submit(kind))["id"], state)
    stats = (await quick.client.get("/v1/stats")).json()
    expected = {"scheduled": 1, "queued": 0, "retrying": 0, "blocked": 0, "running": 1, "cancelling": 0, "completed": 2,
                "failed": 1, "cancelled": 0}  # fmt: skip
    assert stats["states"] == expected
    assert stats["workers"] == 1
    assert set(stats["rates"]) == {"1m", "5m", "1h"}
    assert stats["rates"]["1h"]["failure_ratio"] == pytest.approx(1 / 3, abs=0.001)
    assert TIME.fullmatch(stats["at"])


async def test_a_database_that_does_not_answer_makes_the_server_unready(
    idle: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await idle.client.get("/readyz")).json() == {"status": "ready"}
    store = (await idle.shop.open()).store

    async def broken(_: object) -> None:
        raise OSError("disk I/O error")

    monkeypatch.setattr(store, "read", broken)
    answer = await idle.client.get("/readyz")
    problem(answer, 503, "storage-unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert (await idle.client.get("/livez")).json() == {"status": "alive"}
