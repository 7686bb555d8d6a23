"""Times every page in process, beside the same page of a small shop: the ASGI call from its first byte to its last."""

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import uvloop

from benchmarks.http_client import begin
from benchmarks.machine import SERVER_CPU, pin
from benchmarks.seeding import KINDS, QUEUES, RUNNING, set_running
from jalebi import Jalebi
from jalebi.web import ROUTES

#: Seconds that a page may take altogether; at least three requests are made.
PATIENCE: Final = 4.0
_HEADERS: Final = [(b"host", b"127.0.0.1"), (b"accept", b"text/html, application/json")]
#: What GET /v1/jobs and the list of jobs are asked for.
FILTERS: Final[dict[str, list[tuple[str, str]]]] = {
    "": [],
    "state=failed": [("state", "failed")],
    "state=queued": [("state", "queued")],
    "state=running": [("state", "running")],
    "kind": [("kind", KINDS[4])],
    "kind, state=failed": [("kind", KINDS[4]), ("state", "failed")],
    "queue": [("queue", QUEUES[2])],
    "queue, state=queued": [("queue", "default"), ("state", "queued")],
    "queue, kind": [("queue", QUEUES[4]), ("kind", KINDS[4])],
    "2 kinds, 2 states": [("kind", KINDS[4]), ("kind", KINDS[9]), ("state", "failed"), ("state", "cancelled")],
    "tag (every thousandth job)": [("tag", "customer-500")],
    "tag (every tenth job)": [("tag", "nightly")],
    "tag, state=failed": [("tag", "nightly"), ("state", "failed")],
    "2 tags": [("tag", "nightly"), ("tag", "customer-500")],
    "text that all have": [("q", "figures")],
    "text of few jobs": [("q", "figures 777")],
    "text that none has": [("q", "no such text")],
    "text, kind": [("q", "no such text"), ("kind", KINDS[4])],
    "the oldest (created_before)": [("created_before", "{old}")],
    "the newest (created_after)": [("created_after", "{new}")],
    "created_after, state=failed": [("created_after", "{new}"), ("state", "failed")],
    "far down (cursor)": [("cursor", "{cursor}")],
}


class Kitchen:
    """A shop of thirty kinds on one of the databases, open and serving in this process."""

    def __init__(self, path: Path, *, workers: bool = True) -> None:
        self.path = path
        self.shop = Jalebi(
            database_url=f"sqlite:///{path.absolute()}", workers=workers, concurrency=RUNNING, max_waiting=10**8,
            grace=0.1, retention_age=1e9, retention_count=10**9, retention_bytes=1 << 50, token=None,
        )  # fmt: skip
        for name in KINDS:
            self.shop.job(name=name)(work)
        self.values: dict[str, str] = {}

    async def open(self) -> None:
        """Open it, and put everything as it was when it was made."""
        rooms = await self.shop.open()
        set_running(self.path, time.time())

        def query(connection: Any) -> dict[str, str]:
            ids = connection.exec_driver_sql("SELECT id FROM job ORDER BY id LIMIT 1 OFFSET 500").scalar_one()
            found = {"cursor": ids}
            for state in ("completed", "failed", "queued", "running"):
                newest = "SELECT max(id) FROM job WHERE state = ?"
                found[state] = connection.exec_driver_sql(newest, (state,)).scalar_one()
            for share, name in ((0.1, "old"), (0.999, "new")):
                at = connection.exec_driver_sql(
                    "SELECT min(created_at) + ? * (max(created_at) - min(created_at)) FROM job", (share,)
                ).scalar_one()
                found[name] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
            if "/errors/{fingerprint}" in {getattr(route, "path", "") for route in ROUTES}:
                found["fingerprint"] = connection.exec_driver_sql("SELECT min(fingerprint) FROM fault").scalar_one()
            return found

        self.values = await rooms.store.read(query)
        self.values["token"] = await rooms.shares.token(self.values["completed"], time.time() + 86_400)

    async def get(self, path: str, query: Sequence[tuple[str, str]]) -> tuple[float, int, int]:
        """Return the seconds of one GET, its status and the bytes of its body."""
        asked = urlencode([(name, value.format(**self.values)) for name, value in query]).encode()
        path = path.replace("{name:path}", QUEUES[2]).format(**self.values, name=KINDS[4])
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": asked, "root_path": "", "headers": _HEADERS,
            "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1),
        }  # fmt: skip
        status, size, asks = 0, 0, 0

        async def receive() -> dict[str, Any]:
            nonlocal asks
            asks += 1
            if asks > 1:
                await asyncio.Event().wait()
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            nonlocal status, size
            status = message.get("status", status)
            size += len(message.get("body", b""))

        began = time.perf_counter()
        await self.shop(scope, receive, send)
        return time.perf_counter() - began, status, size


def work(number: int = 0) -> None:
    """Be the function of every kind; it is never called."""


def requests() -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Return the name, path and query of everything that is asked for: each page, then the lists with their filters."""
    found: list[tuple[str, str, list[tuple[str, str]]]] = []
    for route in ROUTES:
        path = getattr(route, "path", "")
        if "GET" not in (getattr(route, "methods", None) or ()) or path in {
            "/jobs",
            "/v1/jobs",
            "/login",
            "/jobs/bulk",
        }:
            continue
        if path.startswith(("/v1/", "/workers/", "/share/{token}/")) or path.endswith(("/files", "/files/{name}")):
            continue
        of_job = path.startswith("/jobs/{id}")
        for state in ("completed", "failed", "queued", "running") if path == "/jobs/{id}" else ("completed",):
            known = path.replace("{id}", f"{{{state}}}") if of_job else path
            found.append((f"{path} ({state})" if path == "/jobs/{id}" else path, known, []))
    found += [(f"/v1{path}", f"/v1{path}", []) for path in ("/stats", "/kinds", "/events")]
    found += [(path, path.replace("{id}", "{completed}"), []) for path in ("/v1/jobs/{id}", "/v1/jobs/{id}/events")]
    for path in ("/jobs", "/v1/jobs"):
        found += [(f"{path}  {name}".rstrip(), path, query) for name, query in FILTERS.items()]
    return found


async def times(large: str, small: str, repeats: int) -> dict[str, Any]:
    """Return for each request the milliseconds in the large shop and in the small, taken in turns."""
    pin(SERVER_CPU)
    kitchens = [Kitchen(Path(large)), Kitchen(Path(small))]
    found: dict[str, Any] = {}
    try:
        for kitchen in kitchens:
            await kitchen.open()
        for name, path, query in requests():
            found[name] = await _in_turns(kitchens, path, query, repeats)
    finally:
        for kitchen in kitchens:
            await kitchen.shop.close()
    return found


async def _in_turns(kitchens: list[Kitchen], path: str, query: list[tuple[str, str]], repeats: int) -> dict[str, Any]:
    took: list[list[float]] = [[], []]
    status = size = 0
    began = time.monotonic()
    for turn in range(repeats + 1):
        if turn > 3 and time.monotonic() - began > PATIENCE:
            break
        for which in (1, 0):
            try:
                seconds, code, length = await kitchens[which].get(path, query)
            except Exception as error:  # a page that breaks must not keep the others from being measured
                return {"wrong": f"{type(error).__name__}: {error}"}
            if turn:  # the first one warms up
                took[which].append(seconds * 1000)
            status, size = (code, length) if which == 0 else (status, size)
    return {"large": took[0], "small": took[1], "status": status, "size": size}


def main() -> None:
    """Carry out the order and print what was found."""
    order = begin(None)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(times(**order))))


if __name__ == "__main__":
    main()
