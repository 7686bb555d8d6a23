"""Kinds with much to say: long logs, lines that are not safe to show as they are, attempts that fail, pictures."""

import asyncio
import base64
from pathlib import Path

from jalebi import Jalebi, JobContext

shop = Jalebi()
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8/5+hHgAHggJ/PchI7wAAAABJRU5ErkJggg=="
)


def level(number: int) -> str:
    """Return the level of a line: every hundredth is a warning, every thousandth an error."""
    return "error" if number % 1000 == 0 else "warning" if number % 100 == 0 else "info"


@shop.job(timeout=3600)
async def talk(ctx: JobContext, lines: int, gate: str = "", more: int = 0, every: int = 200) -> None:
    """Log lines, wait until the file is there, and log some more, with a pause after `every` so many of them."""
    for number in range(1, lines + more + 1):
        if number == lines + 1:
            ctx.progress(1, 2)
            while not Path(gate).exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(0.02)
        ctx.log(f"stirring {number} of syrup", level(number))
        if number % (200 if number <= lines else every) == 0:
            await asyncio.sleep(0.02)
    if not more and gate:
        ctx.progress(1, 2)
    while gate and not Path(f"{gate}-ends").exists():  # noqa: ASYNC110
        await asyncio.sleep(0.02)


@shop.job
async def odd(ctx: JobContext) -> None:
    """Log what must not be shown as it is."""
    ctx.log("\x1b[1;31mred\x1b[0m \x1b]0;title\x07hot")
    ctx.log("one\ntwo\r\nthree\rfour")
    ctx.log("bell\x07 \u202eback")
    ctx.log("<script>alert(1)</script> & more")
    ctx.log("x" * 50_000)


@shop.job(max_attempts=3, backoff=0.05)
async def burn(ctx: JobContext, times: int = 2) -> str:
    """Fail so many times, each time for another reason."""
    if ctx.attempt <= times:
        raise ValueError(f"burnt {ctx.attempt}\nand stuck to the pan")
    return "crisp"


@shop.job
async def hold(ctx: JobContext, gate: str, fail: bool = False) -> str:
    """Count up to 42 of 100 as the file says, and end when the second one is there."""
    while not Path(f"{gate}-ends").exists():
        ctx.raise_if_cancelled()
        ctx.progress(42 if Path(gate).exists() else 7, 100, unit="spirals")
        await asyncio.sleep(0.02)
    if fail:
        raise ValueError("spilled")
    return "held"


@shop.job
async def paint(ctx: JobContext) -> None:
    """Attach a picture, and what is none."""
    ctx.attach(PICTURE, "dot.png", "image/png")
    ctx.attach(b"not a picture", "note.txt", "text/plain")
