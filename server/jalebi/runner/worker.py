"""The worker: keeps its slots filled, renews leases, rescues what dead workers left, and drains."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final

from jalebi.background import cancel, every, log, spawn
from jalebi.errors import Problem, StorageUnavailable
from jalebi.ids import new_id
from jalebi.jobs import Failed, Job, Outcome, Released, State, failure
from jalebi.queue import Queue, nothing_runs
from jalebi.runner.attempt import DISK_RETRY, Attempt, Reason
from jalebi.runner.inside import run_in_loop, run_in_thread
from jalebi.runner.lane import Lane
from jalebi.runner.limits import Limits
from jalebi.runner.process import Children, run_in_process
from jalebi.runner.rates import Rates
from jalebi.runner.watchdog import Watchdog
from jalebi.store.attempts import Claim

#: Slots for the house's own jobs, beside those of the worker.
OWN_SLOTS: Final = 2
SAVE_EVERY: Final = 1.0
#: Seconds that attempts get to end after a drain has stopped them.
LAST_MOMENTS: Final = 1.5
#: Seconds by which a timer may come early (uvloop counts whole milliseconds).
TIMER_SLACK: Final = 0.005


class Worker:
    """Claims jobs of the registered kinds and runs up to `concurrency` of them at once."""

    def __init__(self, queue: Queue, target: str | None) -> None:
        self.queue = queue
        self.id = new_id()  # random, never a host's name: two of the same name must not share leases
        settings = queue.settings
        self.concurrency = settings.concurrency
        self.started_at = queue.store.clock()
        self._lane = Lane("jobs", settings.concurrency, queue.kinds.all)
        self._own_lane = Lane("house", OWN_SLOTS, queue.kinds.own)
        self._idle = asyncio.Event()
        self._idle.set()
        self._attempts: dict[str, Attempt] = {}
        self._rates = Rates(queue.kinds)
        line_limit = 4 * settings.max_result + (1 << 20)
        self._children = Children(target, line_limit=line_limit, limits=Limits.of(settings))
        self._draining = False
        self._watched = time.monotonic()
        self._lenient_until = 0.0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Worker"]:
        """Work while the context is open; at its end, what still runs is stopped and handed back."""
        queue = self.queue
        queue.interrupt, queue.renew = self._interrupt, self._renew
        queue.workers = 1
        queue.forecast.open = lambda: not self.draining
        queue.forecast.ready = lambda: self._rates.caps(time.monotonic())
        async with AsyncExitStack() as rooms:
            rooms.push_async_callback(self._children.close)
            rooms.enter_context(Watchdog(queue.settings.block_warning, self._blame))
            lease = queue.settings.lease
            await rooms.enter_async_context(every(lease / 3, self._renew, "renewing leases"))
            await rooms.enter_async_context(every(lease / 10, self._watch_leases, "watching leases"))
            await rooms.enter_async_context(every(SAVE_EVERY, self._save, "saving progress"))
            if any(kind.isolation == "process" for kind in queue.kinds.all()):
                spawn(self._warm(), "warming a child process")
            for lane in (self._lane, self._own_lane):
                lane.claiming = spawn(self._claim_jobs(lane), f"claiming jobs of lane {lane.name}")
            try:
                yield self
            finally:
                await self.drain(0.0)
                queue.workers = 0
                queue.forecast.open, queue.forecast.ready = lambda: False, dict
                queue.interrupt, queue.renew = lambda _: None, nothing_runs

    async def drain(self, grace: float) -> None:
        """Claim nothing more; after `grace` seconds stop what still runs and hand it back. Safe to call twice."""
        self._draining = True
        for lane in (self._lane, self._own_lane):
            lane.withdraw()
        for lane in (self._lane, self._own_lane):
            await self._end_claiming(lane)
        if not await self._empties_within(grace):
            self._stop_all("drain")
            # A process that ignores its stop is killed when the children are closed; a thread ends with us.
            if not await self._empties_within(LAST_MOMENTS):
                await self._hand_back()
                self._attempts.clear()
                self._idle.set()

    def abandon(self) -> None:
        """End the children where the event loop that knew them is no more."""
        self._children.abandon()

    @property
    def busy(self) -> int:
        """How many attempts run in the worker's slots."""
        return self._lane.busy

    @property
    def draining(self) -> bool:
        """Whether nothing more is started, until `resume` or for good."""
        return self._draining or self._lane.paused

    def jobs(self) -> list[str]:
        """Return the ids of the jobs that run."""
        return list(self._attempts)

    def children(self) -> list[tuple[int, int | None, str | None]]:
        """Return the child processes: pid, resident bytes where they are known, and the id of the job in it."""
        return self._children.seen()

    async def pause(self) -> None:
        """Start nothing more until `resume`; what runs goes on."""
        self._lane.paused = True
        self._lane.withdraw()
        await self.queue.store.nudge()

    def resume(self) -> None:
        """Go on starting jobs."""
        self._lane.paused = False
        self._look_again()

    async def _end_claiming(self, lane: Lane) -> None:
        claiming, lane.claiming = lane.claiming, None
        if claiming is None or claiming.done():
            return
        with suppress(StorageUnavailable):
            await self.queue.store.nudge()  # what was claimed before the withdrawal still arrives
        await asyncio.sleep(0)
        await cancel(claiming)

    async def _empties_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _stop_all(self, reason: Reason) -> None:
        for attempt in self._attempts.values():
            attempt.stop(reason)

    async def _hand_back(self) -> None:
        for attempt in list(self._attempts.values()):
            outcome = attempt.judge(Released())
            try:
                if outcome is not None:
                    await self.queue.settle(attempt.job, outcome, attempt.progress)
            except StorageUnavailable:
                log.warning("Job %s could not be handed back; the next start takes it back", attempt.job.id)
            attempt.stop("lost")

    async def _claim_jobs(self, lane: Lane) -> None:
        while not self._draining:
            lane.claim = Claim(
                worker=self.id,
                lease=self.queue.settings.lease,
                free=lane.open,
                kinds=lambda: {kind.name: kind.max_running for kind in lane.kinds()},
                caps=lambda: self._rates.caps(time.monotonic()),
            )
            wait, loop = self._rates.wait(time.monotonic()), asyncio.get_running_loop()
            timer = None if wait is None else loop.call_later(wait + TIMER_SLACK, self._look_again)
            try:
                started = await self.queue.claim(lane.claim)
            except Exception as error:
                if not isinstance(error, StorageUnavailable):
                    log.exception("Claiming jobs failed; it is tried again")
                await asyncio.sleep(DISK_RETRY)
                continue
            finally:
                if timer is not None:
                    timer.cancel()
            self._begin(await self._still_held(started), lane)

    async def _still_held(self, started: Sequence[Job]) -> Sequence[Job]:
        """Return the claimed jobs that are ours for long enough to begin.

        A lease begins before the commit that grants it; where that took long, somebody may have rescued the job.
        """
        lease, now = self.queue.settings.lease, self.queue.store.steady()
        late = [(job.id, job.attempt) for job in started if (job.lease_until or 0.0) - now < lease * 2 / 3]
        if not late:
            return started
        try:
            held = {job.id: job for job in await self.queue.store.renew(late, lease)}
        except StorageUnavailable:
            held = {}  # they are rescued when their leases are over
        overdue = {job_id for job_id, _ in late}
        return [held.get(job.id, job) for job in started if job.id not in overdue or job.id in held]

    def _look_again(self) -> None:
        spawn(self.queue.store.nudge(), "looking for work")

    def _begin(self, started: Sequence[Job], lane: Lane) -> None:
        for job in started:
            self._rates.started(job.kind, time.monotonic())
            attempt = Attempt(job, self.queue.kinds.known(job.kind), self.queue)
            left = (job.lease_until or 0.0) - self.queue.store.steady()
            attempt.renewed_at -= max(0.0, self.queue.settings.lease - left)
            if (before := self._attempts.get(job.id)) is not None:
                before.stop("lost")  # and nobody has told it yet
            if job.state is State.CANCELLING:  # while its lease was looked after
                attempt.stop("cancel")
            self._attempts[job.id] = attempt
            lane.take()
            spawn(self._work(attempt, lane), f"job {job.kind} {job.id}")
        if self._attempts:
            self._idle.clear()

    async def _work(self, attempt: Attempt, lane: Lane) -> None:
        freed = False
        try:
            outcome = await self._run(attempt)
            attempt.settling = True
            if not attempt.flushed:
                await attempt.flush()
            judged = attempt.judge(outcome)
            # Before the write: its transaction is the one that may fill the slot again.
            lane.give_back()
            freed = True
            if judged is not None:
                await self._settle(attempt, judged)
            else:
                self.queue.hub.forget(attempt.job)
                self._look_again()
        finally:
            if self._attempts.get(attempt.job.id) is attempt:
                del self._attempts[attempt.job.id]
            if not freed:
                lane.give_back()
            if not self._attempts:
                self._idle.set()

    async def _run(self, attempt: Attempt) -> Outcome:
        try:
            match attempt.kind.isolation:
                case "loop":
                    return await run_in_loop(attempt)
                case "thread":
                    return await run_in_thread(attempt)
                case "process":
                    return await run_in_process(attempt, self._children)
        except Exception as error:  # a fault of ours must not lose the job
            log.exception("Attempt %s of job %s broke", attempt.job.attempt, attempt.job.id)
            return attempt.failed(failure(type(error).__name__, f"The worker could not run the job: {error}"))
        finally:
            attempt.over()

    async def _settle(self, attempt: Attempt, outcome: Outcome) -> None:
        while True:
            try:
                settled = await self.queue.settle(attempt.job, outcome, attempt.progress)
            except StorageUnavailable:
                if attempt.reason == "lost":
                    return
                await asyncio.sleep(DISK_RETRY)  # the outcome is kept until the disk takes it
                continue
            if settled is None:
                self.queue.hub.forget(attempt.job)
                log.warning("Attempt %s of job %s had lost its lease", attempt.job.attempt, attempt.job.id)
            elif isinstance(outcome, Failed) and settled.state is not State.RETRYING:
                log.info("Job %s (%s) %s: %s", settled.id, settled.kind, settled.state, outcome.error["message"])
            return

    def _interrupt(self, job: Job) -> None:
        attempt = self._attempts.get(job.id)
        if attempt is not None and attempt.job.attempt == job.attempt:
            attempt.stop("cancel")

    async def _renew(self) -> bool:
        """Renew every lease; False where the store did not take it."""
        if not self._attempts:
            return True
        asked = dict(self._attempts)
        now = time.monotonic()
        lease = self.queue.settings.lease
        try:
            held = await self.queue.store.renew([(a.job.id, a.job.attempt) for a in asked.values()], lease)
        except StorageUnavailable:
            return False
        states = {job.id: job for job in held}
        for job_id, attempt in asked.items():
            job = states.get(job_id)
            if job is None:
                if self._attempts.get(job_id) is attempt and not attempt.settling:
                    attempt.stop("lost")
                continue
            attempt.renewed_at = now
            if job.state is State.CANCELLING:
                attempt.stop("cancel")
        return True

    async def _watch_leases(self) -> None:
        """Stop what could not be renewed before its lease ends, by our own clock, whether the store answers or not."""
        now, before = time.monotonic(), self._watched
        self._watched = now
        lease = self.queue.settings.lease
        if now - before > lease / 3:  # it was us who stood still: first the leases get their chance
            spawn(self._renew(), "renewing leases after a pause")
            self._lenient_until = now + lease / 3
        if now < self._lenient_until:
            return
        for attempt in list(self._attempts.values()):
            # An outcome that waits for the disk is fenced: no harm.
            if not attempt.settling and now - attempt.renewed_at > lease * 2 / 3:
                attempt.stop("lost")

    async def _save(self) -> None:
        now = time.monotonic()
        for attempt in list(self._attempts.values()):
            if attempt.stalls(now):
                spawn(self._stalled(attempt), f"stall of job {attempt.job.id}")
        saving = [attempt for attempt in self._attempts.values() if attempt.progress and attempt.unsaved]
        for attempt in saving:
            attempt.unsaved = False
        with suppress(StorageUnavailable):
            await asyncio.gather(
                *(self.queue.store.save_progress(a.job.id, a.job.attempt, a.progress) for a in saving if a.progress)
            )

    async def _stalled(self, attempt: Attempt) -> None:
        """Do what the kind wants when progress has stopped for many times its usual interval."""
        match attempt.kind.on_stall:
            case "warn":
                attempt.log(attempt.standstill, "warning")
            case "cancel":
                with suppress(Problem):  # it has ended meanwhile, or the disk is full
                    await self.queue.cancel(attempt.job.id, attempt.standstill)
            case "retry":
                attempt.stop("stalled")

    async def _warm(self) -> None:
        try:
            await self._children.warm()
        except Exception as error:
            if not self._draining:
                log.error("%s", error)

    def _blame(self, task: "asyncio.Task[object] | None", where: str, held: float) -> None:
        name = task.get_name() if task else ""
        for attempt in self._attempts.values():
            if name.startswith("job ") and name.endswith(attempt.job.id):
                line = f"{attempt.kind.name} held the event loop for {held:.2f} s with a blocking call; use `def`, "
                attempt.log(f"{line}or await asyncio.to_thread(…):\n{where}", "warning")
