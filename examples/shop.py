"""The sweet shop: the kinds that `jalebi demo` serves, each doing real work on files that come with it.

Whoever may submit jobs here names files that the server reads and addresses that it calls: fine on one's own
machine, where the demo listens on loopback. Look twice before you serve these kinds to strangers.
"""

import asyncio
from typing import Annotated, Literal

from demo_images import images
from demo_mailing import mailing
from demo_report import report
from demo_services import services
from demo_survey import survey
from pydantic import Field

from jalebi import Jalebi, JobContext

shop = Jalebi(lifespan=services)

# Plain functions run in a process of their own each, so that a busy one slows nobody and can be killed.
shop.job(queue="reports", timeout=600)(report)
shop.job(queue="images", timeout=600)(images)
# These wait more than they work, so they share the server's loop; there they also find its mail server and pages.
shop.job(queue="mail", timeout=3600, max_attempts=5, max_running=2)(mailing)
shop.job(queue="web", timeout=3600)(survey)


@shop.job(timeout=660, backoff=3)
async def token(
    ctx: JobContext,
    sweet: Annotated[str, Field(description="What you would like.", max_length=60)] = "jalebi",
    seconds: Annotated[float, Field(description="How long it takes.", ge=0.1, le=600)] = 10,
    fail: Annotated[
        Literal["never", "once", "always"], Field(description="Drop it halfway, to see a retry.")
    ] = "never",
) -> dict[str, str | int]:
    """Make one sweet.

    Takes its time and does nothing else: the quickest way to see a job wait, run, fail, be retried, cancelled, done.
    """
    steps = ["mixing the batter", "heating the oil", "drawing spirals", "frying", "dipping in syrup"]
    moments = 20 * len(steps)
    for moment in range(moments):
        ctx.raise_if_cancelled()
        step = steps[moment * len(steps) // moments]
        if moment % 20 == 0:
            ctx.log(f"{sweet}: {step}")
        if moment == moments // 2 and (fail == "always" or (fail == "once" and ctx.attempt == 1)):
            raise RuntimeError(f"The {sweet} fell on the floor.")
        ctx.progress(moment, moments, step, "spirals")
        await asyncio.sleep(seconds / moments)
    ctx.progress(moments, moments, "ready", "spirals")
    return {"sweet": sweet, "attempt": ctx.attempt}
