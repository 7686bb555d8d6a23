"""The kinds that are measured: they do nothing, report, or say when they began."""

import asyncio
import hashlib
import time
from typing import Any

from jalebi import Jalebi, JobContext

shop = Jalebi()
#: Each `go` lets the waiting `talk` make its next step.
steps = asyncio.Semaphore(0)
arrivals: list[int] = []
_BLOCK = bytes(64 * 1024)


@shop.job
async def noop(title: str = "Q3", pages: int = 200) -> dict[str, int]:
    return {"pages": pages}


@shop.job
def noop_process(title: str = "Q3", pages: int = 200) -> dict[str, int]:
    return {"pages": pages}


@shop.job
async def arrive(sent: int) -> None:
    # The monotonic clock is the same for all processes of a machine.
    arrivals.append(time.monotonic_ns() - sent)


@shop.job
async def tell_arrivals() -> list[int]:
    told = list(arrivals)
    arrivals.clear()
    return told


@shop.job(timeout=240)
async def talk(ctx: JobContext, lines: int, seconds: float) -> None:
    """Log so many lines at once, then report progress much more often than it is passed on."""
    await steps.acquire()
    for line in range(lines):
        ctx.log(f"line {line} of the log of a job that has something to say about each of its many steps")
    await steps.acquire()
    ends = time.monotonic() + seconds
    done = 0
    while time.monotonic() < ends:
        done += 1
        ctx.progress(done, None, str(time.monotonic_ns()), "steps")
        await asyncio.sleep(0.002)
    await steps.acquire()


#: How often each `bar` reports in a second.
pace = {"reports": 0.0}


@shop.job(timeout=280)
async def bar(ctx: JobContext, number: int, total: float | None = 1000) -> None:
    """Report steadily, with the time as the message, for as long as the server lives."""
    done, reports = 97 * number, 1.0  # once even while the others rest: a bar that has never moved looks different
    while True:
        if reports:
            done += 1
            ctx.progress(done % 1000, total, f"{time.time():.4f}", "pages")
        reports = pace["reports"]
        await asyncio.sleep(1 / reports if reports else 0.1)


@shop.job
async def set_pace(reports: float) -> None:
    pace["reports"] = reports


@shop.job
async def go() -> None:
    steps.release()


def call_cost(ctx: JobContext, calls: int) -> tuple[float, float]:
    """Return the seconds for so many `ctx.progress`, and for so many calls of a function that writes to a dict."""
    kept: dict[str, Any] = {}

    def plain(done: float, total: float | None = None, message: str | None = None, unit: str | None = None) -> None:
        kept["latest"] = (done, total, message, unit)

    began = time.perf_counter()
    for done in range(calls):
        ctx.progress(done, calls)
    middle = time.perf_counter()
    for done in range(calls):
        plain(done, calls)
    return middle - began, time.perf_counter() - middle


def _work(ctx: JobContext, items: int, report: bool) -> None:
    for item in range(items):
        hashlib.sha256(_BLOCK).digest()
        if report:
            ctx.progress(item, items)


def item_cost(ctx: JobContext, items: int) -> tuple[float, float]:
    """Return the seconds for so many items of real work, each reported, and none reported."""
    began = time.perf_counter()
    _work(ctx, items, True)
    middle = time.perf_counter()
    _work(ctx, items, False)
    return middle - began, time.perf_counter() - middle


@shop.job
async def cost_loop(ctx: JobContext, calls: int, items: int) -> list[list[float]]:
    # In portions: a job in the loop that never yields holds up everybody, and the server rightly says so.
    costs, works = [], []
    for _ in range(20):
        costs.append(call_cost(ctx, calls // 20))
        await asyncio.sleep(0)
        works.append(item_cost(ctx, items // 20))
        await asyncio.sleep(0)
    return [[sum(column) for column in zip(*pairs, strict=True)] for pairs in (costs, works)]


@shop.job(isolation="thread")
def cost_thread(ctx: JobContext, calls: int, items: int) -> list[list[float]]:
    return [list(call_cost(ctx, calls)), list(item_cost(ctx, items))]


@shop.job(isolation="process")
def cost_process(ctx: JobContext, calls: int, items: int) -> list[list[float]]:
    return [list(call_cost(ctx, calls)), list(item_cost(ctx, items))]
