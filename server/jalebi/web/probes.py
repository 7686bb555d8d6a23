"""Health and figures: is the server alive, may it get work, how many jobs are where."""

import time
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from jalebi.errors import Draining, StorageUnavailable
from jalebi.events import rfc3339
from jalebi.store import reads
from jalebi.web.answers import json_answer
from jalebi.web.rooms import rooms_of

WINDOWS: Final = {"1m": 60, "5m": 300, "1h": 3600}


async def livez(_request: Request) -> Response:
    """`GET /livez`: the event loop answers."""
    return json_answer({"status": "alive"})


async def readyz(request: Request) -> Response:
    """`GET /readyz`: the server takes jobs and its database answers; 503 with the reason otherwise."""
    rooms = rooms_of(request)
    if rooms.queue.draining:
        raise Draining("The server is shutting down.", headers={"Retry-After": "5"})
    if rooms.store.trouble is not None:
        detail = f"The storage takes no new jobs: {rooms.store.trouble}."
        raise StorageUnavailable(detail, headers={"Retry-After": "5"})
    try:
        await rooms.store.read(reads.last_number)
    except Exception as error:
        raise StorageUnavailable(f"The database does not answer: {error}.", headers={"Retry-After": "5"}) from None
    return json_answer({"status": "ready"})


async def stats(request: Request) -> Response:
    """`GET /v1/stats`: exact counts by state, and rates."""
    return json_answer(await figures(request))


async def figures(request: Request) -> dict[str, Any]:
    """Return what `/v1/stats` answers."""
    rooms = rooms_of(request)
    now = rooms.store.clock()
    counts = await rooms.store.read(reads.counts)
    ended = await rooms.store.read(lambda connection: reads.ended(connection, WINDOWS.values(), now=now))
    rates = {}
    for name, seconds in WINDOWS.items():
        finished, failed = ended[seconds]
        rates[name] = {
            "finished_per_second": round(finished / seconds, 4),
            "failure_ratio": round(failed / finished, 4) if finished else 0.0,
        }
    return {"states": counts, "rates": rates, "workers": rooms.queue.workers, "at": rfc3339(time.time())}
