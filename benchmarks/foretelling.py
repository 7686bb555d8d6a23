"""Runs a small mixed load in real time, and notes what a GET would have told of each job meanwhile."""

import asyncio
import json
import random
from dataclasses import asdict
from typing import Any, Final

import uvloop

from benchmarks.http_client import begin
from benchmarks.mixed_load import LOOKS, Look
from jalebi import Jalebi, JobContext
from jalebi.jobs import ACTIVE, Job
from jalebi.queue import Order, Queue

SLOTS: Final = 12
KINDS: Final = ("straight", "bent", "silent")
_STEPS: Final = 40
#: Jobs of each kind that have finished before anything is asked in line: the first to finish are the shortest.
WARM: Final = 5
shop = Jalebi()
dice = random.Random(5)


async def _work(ctx: JobContext, seconds: float, exponent: float | None) -> None:
    for step in range(1, _STEPS + 1):
        await asyncio.sleep(seconds / _STEPS)
        if exponent is not None:
            ctx.progress(1.0 - (1.0 - step / _STEPS) ** exponent, 1.0)


@shop.job
async def straight(ctx: JobContext, seconds: float) -> None:
    await _work(ctx, seconds, 1.0)


@shop.job
async def bent(ctx: JobContext, seconds: float) -> None:
    await _work(ctx, seconds, 2.5)


@shop.job
async def silent(ctx: JobContext, seconds: float) -> None:
    await _work(ctx, seconds, None)


async def foretell(jobs: int) -> list[dict[str, Any]]:
    """Hand all in at once, look at each in line and at shares of its run; return what was told and what came."""
    shop.configure(database_url="sqlite://", concurrency=SLOTS, grace=1)
    async with shop.lifespan():
        queue = (await shop.open()).queue
        orders = []
        for index in range(jobs):
            kind = KINDS[index % 3]
            seconds = 2.6 if kind == "silent" else max(2.1, 2.6 * dice.lognormvariate(0.0, 0.25))
            orders.append((kind, seconds))
        made = [await queue.submit(Order(kind=kind, args={"seconds": seconds})) for kind, seconds in orders]
        watched = [_watch(queue, job, seconds) for job, (_, seconds) in zip(made, orders, strict=True)]
        return [asdict(look) for looks in await asyncio.gather(*watched) for look in looks]


async def _watch(queue: Queue, job: Job, seconds: float) -> list[Look]:
    told: list[tuple[float, float, float | None, Any]] = []
    with queue.hub.subscribe(job.id) as mailbox:
        found = await queue.get(job.id)
        while found.started_at is None:
            outlook = (await queue.get_with_outlook(job.id))[1]
            histories = [queue.forecast.histories.of(kind).durations for kind in KINDS]
            known = [took for durations in histories for took in durations]
            if not told and min(map(len, histories)) >= WARM and outlook.position is not None:
                asked = queue.store.clock()
                plain = outlook.position * sum(known) / len(known) / SLOTS
                told.append((-1.0, asked, plain, outlook.start))
            await _news(mailbox, 0.2)
            found = await queue.get(job.id)
        for share in LOOKS:
            await asyncio.sleep(max(0.0, found.started_at + share * seconds - queue.store.clock()))
            now, outlook = queue.store.clock(), (await queue.get_with_outlook(job.id))[1]
            live = await queue.get(job.id)
            fraction = live.progress.fraction if live.progress is not None else None
            elapsed = now - found.started_at
            told.append((share, now, elapsed / fraction - elapsed if fraction else None, outlook.finish))
        while (found := await queue.get(job.id)).state in ACTIVE:
            await _news(mailbox, 1.0)
    return [_look(found, *one) for one in told]


async def _news(mailbox: Any, seconds: float) -> None:
    try:
        await asyncio.wait_for(anext(mailbox), seconds)
    except TimeoutError:
        return


def _look(job: Job, share: float, now: float, plain: float | None, span: Any) -> Look:
    assert job.started_at is not None
    assert job.finished_at is not None
    real = (job.started_at if share < 0 else job.finished_at) - now
    by = max(real, 0.1) if share < 0 else job.finished_at - job.started_at
    return Look(
        job.kind, share, real, by, job.kind != "silent", plain,
        None if span is None else (span.earliest - now, span.median - now, span.latest - now),
    )  # fmt: skip


def main() -> None:
    """Carry out the order and print what was found."""
    order = begin(None)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(foretell(**order))))


if __name__ == "__main__":
    main()
