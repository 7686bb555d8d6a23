"""Kinds whose bars move fast and say something else all the time; one of them starts over now and then."""

import asyncio

from jalebi import Jalebi, JobContext

shop = Jalebi()
STEPS = (
    "heating the oil",
    "frying, and turning them over one by one",
    "syrup",
    "draining the last of the batch on a rack",
)


@shop.job(max_attempts=400, backoff=lambda attempt: 0.3 + attempt % 3)
async def fry(ctx: JobContext, seed: int = 0) -> None:
    """Fry batch after batch, and drop one in three."""
    total = 30 + seed * 7 % 60
    for done in range(total + 1):
        ctx.progress(done, None if done < 5 else total, STEPS[(done // 7 + seed) % len(STEPS)], "pieces")
        await asyncio.sleep(0.04)
    raise ValueError(f"batch {seed} fell on the floor")


@shop.job
async def simmer(ctx: JobContext, seed: int = 0) -> None:
    """Go from stage to stage, and never end."""
    done = 0
    while True:
        done = (done + 1) % 200
        ctx.progress(done, None if done < 20 else 200, STEPS[(done // 9 + seed) % len(STEPS)], "pieces")
        await asyncio.sleep(0.04)
