"""The kinds that the browser tests run; files in the working directory hold them up and let them go."""

import asyncio
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from jalebi import Jalebi, JobContext
from jalebi.context import Upload

shop = Jalebi()


class Address(BaseModel):
    street: str
    city: str = "Jodhpur"


@shop.job(queue="reports")
async def stir(ctx: JobContext, title: str = "syrup", turns: int = 400, pause: float = 0.05) -> dict[str, str]:
    """Stir slowly."""
    for turn in ctx.track(range(turns), unit="turns"):
        if turn % 5 == 0:
            ctx.log(f"turn {turn} of {title}")
        await asyncio.sleep(pause)
    ctx.attach(b"recipe", "recipe.txt", "text/plain")
    return {"title": title}


@shop.job
async def gate(ctx: JobContext, name: str) -> str:
    """Report half, and wait until the file of that name is there."""
    ctx.progress(1, 2, "at the gate", "steps")
    while not Path(name).exists():
        ctx.raise_if_cancelled()
        await asyncio.sleep(0.02)
    return "through"


@shop.job(queue="counter", max_running=1)
async def counter(ctx: JobContext, name: str) -> str:
    """Let one through at a time."""
    return await gate(ctx, name)


@shop.job(max_attempts=1)
async def spill(message: str = "it <b>spilled</b>") -> None:
    """Fail."""
    raise ValueError(message)


@shop.job
async def nap(seconds: float = 0) -> None:
    """Do nothing for a while."""
    await asyncio.sleep(seconds)


@shop.job(queue="orders")
async def order(
    title: Annotated[str, Field(description="What is ordered.", min_length=3)],
    pieces: Annotated[int, Field(ge=1, le=500)] = 20,
    ratio: float = 0.5,
    size: Literal["small", "large"] = "small",
    fresh: bool = True,
    toppings: list[str] = ["nuts"],  # noqa: B006
    address: Address | None = None,
    note: Upload | None = None,
    tags: str = "",
) -> dict[str, object]:
    """Take an order.

    It returns what it was given.
    """
    return {
        "title": title, "pieces": pieces, "ratio": ratio, "size": size, "fresh": fresh, "toppings": toppings,
        "city": address and address.city, "note": note and note.path.read_text(), "tags": tags,
    }  # fmt: skip
