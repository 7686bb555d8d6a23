"""The load on WebSockets: a thousand subscribers on bare protocols that read the headers of frames only."""

import asyncio
import json
import re
import time
from typing import Any, Final

import uvloop

from benchmarks.figures import percentile
from benchmarks.http_client import Connection, begin, connect
from benchmarks.machine import resident

_STAMP: Final = re.compile(rb'"message":"(\d+)"')
#: Bytes of a payload that tell what it is: `{"type":"log`.
_LOG: Final = b'{"type":"log'
_PROGRESS: Final = b'{"type":"pro'
PATIENCE: Final = 40.0


class Tally:
    """What all subscribers of a run share."""

    def __init__(self) -> None:
        self.open = 0
        self.ended = 0
        self.logs = 0
        self.bytes = 0
        self.other = 0
        self.last = 0.0
        self.delays: list[float] = []


class Subscriber(asyncio.Protocol):
    """One WebSocket that counts what it is sent."""

    def __init__(self, tally: Tally, path: str) -> None:
        self.tally = tally
        self.logs = 0
        self.refused = ""
        self._path = path
        self._rest = b""
        self._open = False

    def connection_made(self, transport: Any) -> None:
        """Ask for the upgrade."""
        self.transport: asyncio.Transport = transport
        transport.write(
            f"GET {self._path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        """Walk over the frames."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        at = 0 if self._open else self._upgraded(data)
        size = len(data)
        while at < size:
            head = at + 2
            if head > size:
                break
            length = data[at + 1]
            if length == 126:
                head += 2
                length = int.from_bytes(data[at + 2 : head])
            elif length == 127:
                head += 8
                length = int.from_bytes(data[at + 2 : head])
            if head + length > size:
                break
            self._frame(data, data[at] & 15, head, length)
            at = head + length
        self._rest = data[at:]

    def _upgraded(self, data: bytes) -> int:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return 0
        if not data.startswith(b"HTTP/1.1 101 "):
            self.refused = data[:200].decode("latin-1")
            return len(data)
        self._open = True
        self.tally.open += 1
        return end + 4

    def _frame(self, data: bytes, kind: int, head: int, length: int) -> None:
        tally = self.tally
        if kind == 8:
            tally.ended += data[head : head + 2] == b"\x03\xe8"
            self.transport.close()
            return
        what = data[head : head + 12]
        if what == _LOG:
            self.logs += 1
            tally.logs += 1
            tally.bytes += length
            tally.last = time.perf_counter()
        elif what == _PROGRESS:
            stamp = _STAMP.search(data, head, head + length)
            if stamp is not None:
                tally.delays.append((time.monotonic_ns() - int(stamp[1])) / 1e6)
        else:
            tally.other += 1

    def connection_lost(self, error: Exception | None) -> None:
        """Be gone."""


async def until(reached: Any, patience: float = PATIENCE) -> None:
    """Wait until something is so, or until patience ends; what was counted tells which."""
    ends = time.perf_counter() + patience
    while not reached() and time.perf_counter() < ends:  # noqa: ASYNC110  an event per frame would slow the client
        await asyncio.sleep(0.02)


async def fan_out(
    port: int, pid: int, plain: bool, sockets: int, lines: int, seconds: float, rate: float, size: int
) -> dict[str, Any]:
    """Subscribe, let the server send a burst of events, then progress for some seconds; return what came."""
    [control] = await connect(port, Connection, 1)
    path, job_id = "/ws", ""
    if not plain:
        order = {"kind": "talk", "args": {"lines": lines, "seconds": seconds}}
        _, answer = await control.ask("/v1/jobs", json.dumps(order).encode())
        job_id = json.loads(answer)["id"]
        path = f"/ws/jobs/{job_id}"
        await _running(control, job_id)
    await _warm(port, path)
    tally = Tally()
    before = resident(pid)
    readers = await connect(port, lambda: Subscriber(tally, path), sockets)
    await until(lambda: tally.open == sockets and (plain or tally.other >= sockets), 20)
    await asyncio.sleep(0.3)
    after = resident(pid)
    refused = next((reader.refused for reader in readers if reader.refused), "")
    if tally.open < sockets:
        raise SystemExit(f"only {tally.open} of {sockets} sockets were opened: {refused}")

    async def step(**publish: Any) -> None:
        target, body = ("/publish", publish) if plain else ("/v1/jobs", {"kind": "go"})
        # A connection for each step: an idle one is closed by the server while a burst goes on.
        [fresh] = await connect(port, Connection, 1)
        status, answer = await fresh.ask(target, json.dumps(body).encode())
        fresh.transport.close()
        if status != 202:
            raise SystemExit(f"the server did not publish: {answer.decode()}")

    wanted = sockets * lines
    began, cpu = time.perf_counter(), time.process_time()
    await step(count=lines, size=size)
    await until(lambda: tally.logs >= wanted)
    took, busy = tally.last - began, time.process_time() - cpu
    await asyncio.sleep(0.5)
    await step(seconds=seconds, rate=rate, size=size)
    await asyncio.sleep(seconds + 1.0)
    if not plain:
        await step()
        await until(lambda: tally.ended >= sockets, 10)
    for reader in readers:
        reader.transport.close()
    delays = tally.delays or [0.0]
    return {
        "rate": tally.logs / took,
        "missing": wanted - tally.logs + sum(abs(reader.logs - lines) for reader in readers),
        "size": tally.bytes / max(1, tally.logs),
        "client_cpu": busy / took,
        "ticks": len(tally.delays) / sockets / seconds,
        "p50": percentile(delays, 0.5),
        "p99": percentile(delays, 0.99),
        "memory": None if before is None or after is None else (after - before) / sockets / 1024,
        "unclosed": 0 if plain else sockets - tally.ended,
    }


async def _warm(port: int, path: str) -> None:
    """Let the server import and allocate what the first sockets need, so that it is not counted as theirs."""
    tally = Tally()
    readers = await connect(port, lambda: Subscriber(tally, path), 20)
    await until(lambda: tally.open == len(readers), 10)
    for reader in readers:
        reader.transport.close()
    await asyncio.sleep(0.3)


async def _running(control: Connection, job_id: str) -> None:
    for _ in range(500):
        _, body = await control.ask(f"/v1/jobs/{job_id}", b"", "GET")
        if json.loads(body)["state"] == "running":
            return
        await asyncio.sleep(0.01)
    raise SystemExit(f"the job does not run: {body.decode()}")


def main() -> None:
    """Carry out the order and print what was found."""
    order = begin()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(fan_out(**order))))


if __name__ == "__main__":
    main()
