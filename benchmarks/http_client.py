"""The load on HTTP: keep-alive connections on bare protocols, one request after the other on each."""

import asyncio
import json
import resource
import signal
import sys
import time
from collections import Counter
from typing import Any, Final

import uvloop

from benchmarks.figures import percentile
from benchmarks.machine import CLIENT_CPU, pin
from benchmarks.processes import LIFE

WARM_UP: Final = 0.4
#: Seconds between two jobs that are submitted to an idle server, on average.
IDLE: Final = 0.009
BODY: Final = b'{"kind":"noop","args":{"title":"Q3 figures","pages":200}}'


def request_of(path: str, body: bytes, method: str = "POST") -> bytes:
    """Return the bytes of a request."""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def idle(number: int) -> float:
    """Return how long to wait before a submission: never in step with anything that polls."""
    return IDLE + 0.01 * (number * 7 % 11 - 5) / 11


class Connection(asyncio.Protocol):
    """One connection; answers are told apart by their Content-Length."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self._rest = b""
        self._waiting: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Gather the answer."""
        if self._rest:
            data = self._rest + data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._rest = data
            return
        head = data[:end].lower()
        at = head.find(b"content-length: ")
        length = int(head[at + 16 :].split(b"\r", 1)[0]) if at > 0 else 0
        if len(data) < end + 4 + length:
            self._rest = data
            return
        self._rest = b""
        self.answered(int(head[9:12]), data[end + 4 :])

    def answered(self, status: int, body: bytes) -> None:
        """Take an answer."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result((status, body))

    async def ask(self, path: str, body: bytes = b"", method: str = "POST") -> tuple[int, bytes]:
        """Send one request and wait for its answer."""
        self._waiting = asyncio.get_running_loop().create_future()
        self.transport.write(request_of(path, body, method))
        async with asyncio.timeout(20):
            return await self._waiting

    def connection_lost(self, error: Exception | None) -> None:
        """Let nobody wait for ever."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error or ConnectionError("the server closed the connection"))


class Load:
    """What all connections of a run share."""

    def __init__(self) -> None:
        self.request = request_of("/v1/jobs", BODY)
        self.statuses: Counter[int] = Counter()
        self.latencies: list[float] = []
        self.counting = False
        self.stopped = False
        self.lost = 0


class Sender(Connection):
    """Sends the next request as soon as the last one is answered."""

    def __init__(self, load: Load) -> None:
        super().__init__()
        self._load = load
        self._sent = 0.0

    def send(self) -> None:
        """Send the next request."""
        self._sent = time.perf_counter()
        self.transport.write(self._load.request)

    def answered(self, status: int, body: bytes) -> None:
        """Count the answer and go on."""
        load = self._load
        load.statuses[status] += 1
        if load.counting:
            load.latencies.append(time.perf_counter() - self._sent)
        if not load.stopped:
            self.send()

    def connection_lost(self, error: Exception | None) -> None:
        """Count a connection that went before its time."""
        if not self._load.stopped:
            self._load.lost += 1


async def connect(port: int, factory: Any, count: int) -> list[Any]:
    """Open so many connections, a hundred at a time."""
    loop = asyncio.get_running_loop()
    found: list[Any] = []
    while len(found) < count:
        some = min(100, count - len(found))
        pairs = await asyncio.gather(*(loop.create_connection(factory, "127.0.0.1", port) for _ in range(some)))
        found.extend(protocol for _, protocol in pairs)
    return found


async def saturate(port: int, connections: int, seconds: float) -> dict[str, Any]:
    """Keep every connection busy; count what is answered after the warm-up."""
    load = Load()
    senders = await connect(port, lambda: Sender(load), connections)
    for sender in senders:
        sender.send()
    await asyncio.sleep(WARM_UP)
    load.counting = True
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    load.counting, load.stopped = False, True
    took = time.perf_counter() - began
    busy = (time.process_time() - cpu) / took
    await asyncio.sleep(0.2)
    for sender in senders:
        sender.transport.close()
    answers = load.latencies or [0.0]
    return {
        "rate": len(load.latencies) / took,
        "p50": percentile(answers, 0.5) * 1000,
        "p99": percentile(answers, 0.99) * 1000,
        "all": sum(load.statuses.values()),
        "bad": sum(n for status, n in load.statuses.items() if status != 202) + load.lost,
        "client_cpu": busy,
    }


async def pick_up(port: int, jobs: int) -> dict[str, Any]:
    """Submit one job at a time to an idle server; the job says how long ago its request was sent."""
    [connection] = await connect(port, Connection, 1)
    bad = 0
    for number in range(jobs):
        await asyncio.sleep(idle(number))
        body = b'{"kind":"arrive","args":{"sent":%d}}' % time.monotonic_ns()
        status, _ = await connection.ask("/v1/jobs", body)
        bad += status != 202
    await asyncio.sleep(0.1)
    _, answer = await connection.ask("/v1/jobs", b'{"kind":"tell_arrivals"}')
    found = await result_of(connection, json.loads(answer)["id"])
    return {"delays": [delay / 1e6 for delay in found], "bad": bad + jobs - len(found)}


async def result_of(connection: Connection, job_id: str) -> Any:
    """Return a job's result once there is one."""
    for _ in range(1000):
        status, body = await connection.ask(f"/v1/jobs/{job_id}/result", b"", "GET")
        if status == 200:
            return json.loads(body)
        await asyncio.sleep(0.01)
    raise TimeoutError(f"job {job_id} has no result: {body.decode()}")


def begin(cpu: int | None = CLIENT_CPU) -> Any:
    """Make this a measuring process: on its core, bounded in time, with files enough; return its order."""
    signal.alarm(LIFE)
    pin(cpu)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return json.loads(sys.argv[1])


def main() -> None:
    """Carry out the order and print what was found."""
    order = begin()
    work = saturate(**order) if "connections" in order else pick_up(**order)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(work)))


if __name__ == "__main__":
    main()
