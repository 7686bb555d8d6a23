"""One attempt as its supervisor sees it: what it reports, and how it is stopped."""

import asyncio
import mimetypes
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

from msgspec.structs import replace

from jalebi.background import log, spawn
from jalebi.context import clean_text
from jalebi.errors import StorageUnavailable
from jalebi.files import stage
from jalebi.jobs import Completed, Failed, Job, Outcome, Progress, Released, Stopped, failure
from jalebi.kinds import Kind
from jalebi.queue import Queue

Reason = Literal["cancel", "timeout", "stalled", "drain", "lost"]
#: Seconds after which a write is tried again that the disk did not take.
DISK_RETRY: Final = 1.0
#: Seconds between two samples of the rate, and how much the newest counts.
_SAMPLE: Final = 0.5
_WEIGHT: Final = 0.3
#: Reports before it is known how often they come, and how many times that interval is a stall.
_REPORTS: Final = 5
_STALL: Final = 20.0


class Attempt:
    """Knows the job, takes its reports (in the event loop's thread), and remembers why it was asked to stop."""

    def __init__(self, job: Job, kind: Kind, queue: Queue) -> None:
        self.job = job
        self.kind = kind
        self.queue = queue
        self.reason: Reason | None = None
        self._now = queue.store.clock
        self._progress: Progress | None = None
        self._newest: tuple[float, str | None, float] | None = None  # a position of which no Progress is made yet
        self._fresh = 0  # reports since one was made
        self._announced = False  # whether the hub knows that there is a newer one
        self._total: float | None = None
        self._unit: str | None = None
        self.unsaved = False
        self.settling = False
        self.renewed_at = time.monotonic()
        self._on_stop: Callable[[], object] | None = None
        self._clock: asyncio.TimerHandle | None = None
        self._ended = False
        self._pending: set[asyncio.Task[bool]] = set()
        self._filing = asyncio.Lock()
        self._dropped = 0
        self._fault: BaseException | None = None
        self._sample: tuple[float, float] | None = None
        self._rate: float | None = None
        self._reports = 0
        self._reported_at = 0.0
        self._interval = 0.0  # between two reports, smoothed
        self.standstill = ""  # how long progress has stopped, as a sentence
        self._receipts: set[str] = set()
        self.killed = False  # whether its process had to be killed
        self.last_words: dict[str, Any] | None = None  # what a process that died or was killed has left

    def stop(self, reason: Reason) -> None:
        """Ask the attempt to stop. A lost lease outweighs every other reason; otherwise the first one counts."""
        if self.reason is None or reason == "lost":
            self.reason = reason
            if self._on_stop is not None:
                self._on_stop()

    def when_stopped(self, act: Callable[[], object]) -> None:
        """Call `act` when the attempt is asked to stop, and at once where it was asked already."""
        self._on_stop = act
        if self.reason is not None:
            act()

    def receipt(self, step: Literal["delivered", "acknowledged"]) -> None:
        """Note that the cancellation was delivered to the attempt, or that its code has heard of it; once each."""
        if self.reason == "cancel" and step not in self._receipts:
            self._receipts.add(step)
            self._keep(self._store_receipt(step, self.queue.store.clock()))

    async def _store_receipt(self, step: Literal["delivered", "acknowledged"], at: float) -> bool:
        with suppress(StorageUnavailable):
            await self.queue.store.record_receipt(self.job.id, self.job.attempt, step, at=at)
        return True

    def start_clock(self) -> None:
        """Let the job's time run; it is asked to stop when it is up."""
        self._clock = asyncio.get_running_loop().call_later(self.job.timeout, self.stop, "timeout")

    def over(self) -> None:
        """The function has ended: nothing is left to stop."""
        self._ended = True
        self._on_stop = None
        if self._clock is not None:
            self._clock.cancel()

    def report(self, done: float, total: float | None, message: str | None, unit: str | None) -> None:
        """Take the newest position; what it leaves out of total and unit stays as it was.

        It is called as often as a job likes: what is made of it is made when somebody looks.
        """
        if self._ended or self.reason == "lost":  # a thread that the job has left behind, or that of a later attempt
            return
        if total is not None:
            self._total = total
        if unit is not None:
            self._unit = unit
        self._newest = (done, message, self._now())
        self._fresh += 1
        if not self._announced:
            self._announced = True
            self.queue.hub.report(self.job, self._position)

    @property
    def progress(self) -> Progress | None:
        """The newest position, None before the first."""
        return self._progress if self._newest is None else self._position()

    def _position(self) -> Progress:
        self._announced = False
        if self._newest is not None:
            done, message, at = self._newest
            self._newest = None
            steady = time.monotonic()
            self._progress = Progress(
                done=done,
                total=self._total,
                unit=None if self._unit is None else clean_text(self._unit)[:100],
                message=None if message is None else clean_text(message)[:1000],
                rate=self._measure(steady, done),
                updated_at=at,
            )
            self.unsaved = True
            self._note_reports(steady)
        assert self._progress is not None
        return self._progress

    def _note_reports(self, now: float) -> None:
        """Learn how often reports come, from how many have come since the last look."""
        fresh, self._fresh = self._fresh, 0
        if self._reports:
            gap = (now - self._reported_at) / fresh
            weight = 1 - (1 - _WEIGHT) ** fresh
            self._interval = gap if self._reports == 1 else self._interval * (1 - weight) + gap * weight
        self._reports += fresh
        self._reported_at = now

    def stalls(self, now: float) -> bool:
        """Whether progress has just stopped for many times its usual interval; it is marked so until it goes on."""
        progress, silent = self.progress, now - self._reported_at
        if progress is None or progress.stalled or self._ended or self._reports < _REPORTS or self.reason is not None:
            return False
        if silent < max(self.queue.settings.stall_after, _STALL * self._interval):
            return False
        self.standstill = f"No progress for {silent:.0f} s; until then it came every {self._interval:.2g} s."
        self._progress = replace(progress, stalled=True)
        self.unsaved = True
        self.queue.hub.report(self.job, self._position)
        return True

    def _measure(self, now: float, done: float) -> float | None:
        if self._sample is None or done < self._sample[1]:
            self._sample, self._rate = (now, done), None
            return None
        since, position = self._sample
        if now - since >= _SAMPLE:
            newest = (done - position) / (now - since)
            self._rate = newest if self._rate is None else self._rate * (1 - _WEIGHT) + newest * _WEIGHT
            self._sample = (now, done)
        return self._rate

    def log(self, message: str, level: str) -> None:
        """Take a log line; beyond as many as a job may keep, those waiting to be stored are counted only."""
        if len(self._pending) >= self.queue.settings.max_log_lines:
            self._dropped += 1
            return
        self._keep(self._store_line(level, message))

    async def _store_line(self, level: str, message: str) -> bool:
        try:
            return await self.queue.log(self.job, level, message)
        except StorageUnavailable:
            self._dropped += 1  # kept back, the lines of a full disk would fill the memory too
            return True

    def attach(self, staged: Path, size: int, name: str, media_type: str | None) -> None:
        """Take a file whose content is staged."""
        kind = media_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
        self._keep(self._store_file(staged, size, name, kind))

    async def _store_file(self, staged: Path, size: int, name: str, media_type: str) -> bool:
        async with self._filing:  # in the order in which they came, however long each takes to reach the disk
            while self.reason != "lost":
                try:
                    return await self.queue.attach(self.job, staged, size, name, media_type)
                except StorageUnavailable:
                    await asyncio.sleep(DISK_RETRY)  # the content lies on disk already; only its row waits
        return False

    def stage(self, source: Path | bytes) -> tuple[Path, int]:
        """Copy a file's content into the staging folder; any thread may call this."""
        return stage(source, self.queue.files.staging)

    def _keep(self, work: Any) -> None:
        task = spawn(work, f"report of job {self.job.id}")
        self._pending.add(task)
        task.add_done_callback(self._kept)

    def _kept(self, task: "asyncio.Task[bool]") -> None:
        self._pending.discard(task)
        if task.cancelled():
            return
        self._fault = self._fault or task.exception()
        if task.exception() is None and task.result() is False:
            self.stop("lost")

    @property
    def backlog(self) -> int:
        """How many log lines and files wait to be stored."""
        return len(self._pending)

    @property
    def flushed(self) -> bool:
        """Whether every line and file is stored, or known to be dropped."""
        return not self._pending and not self._dropped

    async def flush(self) -> None:
        """Wait until every line and file is stored."""
        await self._stored()
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._keep(self._store_line("warning", f"{dropped} log lines were dropped."))
            await self._stored()

    async def _stored(self) -> None:
        while self._pending:
            await asyncio.wait(self._pending)

    def judge(self, outcome: Outcome) -> Outcome | None:
        """Return what is to be settled, given why the attempt was asked to stop; None for a lost one."""
        match self.reason:
            case "lost":
                log.warning(
                    "Attempt %s of job %s lost its lease; what it did is discarded", self.job.attempt, self.job.id
                )
                return None
            case "cancel":
                return Stopped(self.killed)
            case "timeout":
                message = f"The attempt took longer than its {self.job.timeout:g} s."
                traceback = outcome.error.get("traceback") if isinstance(outcome, Failed) else None
                return self.failed(self._with_last_words(failure("Timeout", message, traceback)))
            case "stalled":
                return self.failed(self._with_last_words(failure("Stalled", self.standstill)))
            case None if self._fault is not None and isinstance(outcome, Completed):
                message = f"What the job logged or attached could not be kept: {self._fault}"
                return self.failed(failure(type(self._fault).__name__, message))
            case "drain" if not isinstance(outcome, Failed) or outcome.error.get("type") in STOPPED_BY_US:
                return Released() if not _finished(outcome) else outcome
            case _:
                return outcome

    def _with_last_words(self, error: dict[str, Any]) -> dict[str, Any]:
        return error if self.last_words is None else {**error, "last_words": self.last_words}

    def failed(self, error: dict[str, Any], *, retry: bool = True) -> Failed:
        """Return the outcome of a failure, with the wait before the next attempt."""
        return Failed(error, retry=retry, delay=self.queue.delay(self.job))


#: Errors that an attempt ends with because it was stopped, not by its own fault.
STOPPED_BY_US: Final = frozenset({"ProcessDied", "CancelledError", "JobStopped"})


def _finished(outcome: Outcome) -> bool:
    return not isinstance(outcome, Failed | Stopped | Released)
