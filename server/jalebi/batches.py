"""Batches: jobs that are submitted together, watched as one, and followed by a last one."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from msgspec.structs import replace

from jalebi.errors import JobFinished, NotFound, UnknownKind, ValidationFailed
from jalebi.ids import new_id
from jalebi.jobs import Job, Webhook
from jalebi.queue import Keyed, Made, NewBatch, Order, Queue
from jalebi.store import batches

#: Jobs that are cancelled together.
TOGETHER: Final = 200
#: How `after` names an earlier job of the same batch, which has no id yet: by its place in the body.
_PLACE: Final = "/jobs/"


class Batches:
    """Submits batches, tells how they stand, and cancels them."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def submit(
        self, orders: Sequence[Order], *, last: Order | None, webhook: Webhook | None, keyed: Keyed | None
    ) -> tuple[list[Job], bool]:
        """Store the jobs of a batch, all or none, and the one that runs when all of them are over.

        Return the jobs of the batch, and whether its key had made them before. Raises ValidationFailed with a pointer
        for each fault, UnknownKind, QueueFull, KeyReused, Draining, NotFound.
        """
        self._queue.admit()
        before = None if keyed is None else await self._queue.made_before(keyed)
        if before is not None:
            found = [await self._queue.get(job_id) for job_id in before]
            return [job for job in found if job.batch is not None], True
        batch_id = new_id(self._queue.store.clock())
        # In a thread: ten thousand jobs are looked at, and requests must not wait for that.
        made = await asyncio.to_thread(self._made, orders, batch_id)
        pointers = [f"{_PLACE}{index}" for index in range(len(orders))]
        if last is not None:
            made.append(self._last(last, batch_id))
            pointers.append("/finally")
        batch = NewBatch(batch_id, webhook, made[-1].job.id if last is not None else None)
        submitted = await self._queue.keep(made, keyed, batch, pointers)
        return [job for job in submitted.jobs if job.batch is not None], submitted.replayed

    def _made(self, orders: Sequence[Order], batch_id: str) -> list[Made]:
        made: list[Made] = []
        ids: list[str] = []
        errors: list[dict[str, str]] = []
        for index, order in enumerate(orders):
            try:
                one = self._queue.made(_placed(order, ids), batch=batch_id)
            except ValidationFailed as refused:
                errors += _below(f"{_PLACE}{index}", refused)
                ids.append("")
            except UnknownKind as unknown:
                raise _unknown(f"{_PLACE}{index}", unknown) from None
            else:
                made.append(one)
                ids.append(one.job.id)
        if errors:
            raise ValidationFailed(errors)
        return made

    def _last(self, order: Order, batch_id: str) -> Made:
        if order.after or order.run_at is not None:
            detail = "It runs when the jobs of the batch are over, and waits for nothing else."
            raise ValidationFailed([{"pointer": "/finally", "detail": detail}])
        try:
            return self._queue.made(replace(order, after=[batch_id], after_failure="run"))
        except ValidationFailed as refused:
            raise ValidationFailed(_below("/finally", refused)) from None
        except UnknownKind as unknown:
            raise _unknown("/finally", unknown) from None

    async def get(self, batch_id: str) -> tuple[batches.Batch, float]:
        """Return a batch, and the sum of the fractions of what runs of it. Raises NotFound."""
        found = await self._queue.store.read(partial(batches.batch, batch_id=batch_id))
        if found is None:
            raise NotFound(f"There is no batch {batch_id}.")
        live = (self._queue.live(job).progress for job in found.active)
        return found, sum(progress.fraction or 0.0 for progress in live if progress is not None)

    async def cancel(self, batch_id: str, reason: str | None) -> None:
        """Cancel every job of a batch that is not over. Raises NotFound."""
        await self.get(batch_id)
        last = ""
        while page := await self._queue.store.read(
            partial(batches.waiting, batch_id=batch_id, after=last, limit=TOGETHER)
        ):
            await asyncio.gather(*(self._cancel(job_id, reason) for job_id in page))
            last = page[-1]

    async def _cancel(self, job_id: str, reason: str | None) -> None:
        with suppress(JobFinished, NotFound):  # it has ended meanwhile
            await self._queue.cancel(job_id, reason)

    async def outcomes(self, batch_id: str, *, after: str, limit: int) -> list[tuple[Job, str | None]]:
        """Return the jobs of a batch after the id `after`, and the result of each as JSON text. Raises NotFound."""
        await self.get(batch_id)
        return await self._queue.store.read(partial(batches.outcomes, batch_id=batch_id, after=after, limit=limit))


def _placed(order: Order, ids: Sequence[str]) -> Order:
    """Return the order with the ids of those that it names by their place. Raises ValidationFailed."""
    after: list[str] = []
    for index, name in enumerate(order.after):
        place = name.removeprefix(_PLACE)
        if place == name:
            after.append(name)
        elif place.isascii() and place.isdigit() and int(place[:9]) < len(ids):
            after.append(ids[int(place)])
        else:
            detail = "It may name jobs that stand before it in the batch only."
            raise ValidationFailed([{"pointer": f"/after/{index}", "detail": detail}])
    return replace(order, after=after) if after else order


def _below(pointer: str, refused: ValidationFailed) -> list[dict[str, str]]:
    return [{**error, "pointer": pointer + error["pointer"]} for error in refused.errors]


def _unknown(pointer: str, unknown: UnknownKind) -> UnknownKind:
    place = f"{pointer}/kind"
    return UnknownKind(unknown.detail, pointer=place, errors=[{"pointer": place, "detail": "unknown kind"}])
