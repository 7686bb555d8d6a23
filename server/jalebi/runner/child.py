"""The child process of `process` jobs: imports the target, runs one job after the other, talks over its pipes.

It reads one JSON object a line from standard input and writes one a line to what was standard output; prints of the
job go to standard error. It never opens the database. It dies with its parent.
"""

import asyncio
import ctypes
import inspect
import json
import os
import queue
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from traceback import clear_frames
from typing import Any, BinaryIO, Final

from jalebi.context import clean_text
from jalebi.runner.lastwords import leave_stacks
from jalebi.runner.limits import confine, limit_cpu

#: Seconds between two positions on the pipe.
PULSE: Final = 0.05
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36


class Pipe:
    """The way to the parent, and the link of the running job."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.forked = False  # whether this is a copy that the job has made of its process
        self._lock = threading.Lock()
        self._latest: tuple[Any, ...] | None = None
        self._pulse = threading.Event()
        self.cancelled = False
        self.acknowledged = False
        self.staging = Path()
        self.folder = Path()
        threading.Thread(target=self._pulsing, name="jalebi-progress", daemon=True).start()

    def send(self, message: dict[str, Any]) -> None:
        """Write one message; the newest position goes first, so that nothing overtakes it."""
        with self._lock:
            self._flush()
            self._write(message)

    def _write(self, message: dict[str, Any]) -> None:
        self._out.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        self._out.flush()

    def _flush(self) -> None:
        latest, self._latest = self._latest, None
        if latest is not None:
            done, total, message, unit = latest
            texts = (None if text is None else clean_text(text)[:1000] for text in (message, unit))
            self._write({"t": "progress", "p": [done, total, *texts]})

    def _pulsing(self) -> None:
        pause = threading.Event()
        while self._pulse.wait():
            self._pulse.clear()
            with self._lock, suppress(OSError, ValueError):
                self._flush()
            pause.wait(PULSE)

    def progress(self, done: float, total: float | None, message: str | None, unit: str | None) -> None:
        """Keep the latest position; another thread hands it on."""
        self._latest = (done, total, message, unit)
        if not self._pulse.is_set():
            self._pulse.set()

    def log(self, message: str, level: str) -> None:
        """Hand on a log line."""
        self.send({"t": "log", "message": message, "level": level})

    def attach(self, source: Path | bytes, name: str, media_type: str | None) -> None:
        """Take a file's content before returning."""
        from jalebi.files import stage

        staged, size = stage(source, self.staging)
        self.send({"t": "file", "path": str(staged), "size": size, "name": name, "media_type": media_type})

    def acknowledge(self) -> None:
        """Say that the code has heard that it is to stop."""
        if not self.acknowledged:
            self.acknowledged = True
            self.send({"t": "acknowledged"})

    def inputs(self) -> Path:
        """Return the folder of the files uploaded for this job."""
        return self.folder

    def cut_off(self, *others: int) -> None:
        """Take the pipes from a copy of the process: it must not speak for the job, nor keep them open after it."""
        self.forked = True
        self._lock = threading.Lock()  # somebody may have held it as the copy was made
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (self._out.fileno(), *others):
            os.dup2(nothing, descriptor, inheritable=False)
        os.close(nothing)


def main() -> None:
    """Serve the parent until it goes or says so."""
    parent, *last_words = map(int, sys.argv[1:])
    die_with(parent)
    commands = os.fdopen(os.dup(0), "rb")
    pipe = Pipe(os.fdopen(os.dup(1), "wb"))
    for descriptor in last_words:
        os.set_inheritable(descriptor, False)
        leave_stacks(descriptor)
    _detach_standard_streams()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: pipe.cut_off(commands.fileno(), *last_words))
    inbox: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(commands, pipe, inbox), name="jalebi-commands", daemon=True).start()
    running = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: _terminated(running))
    where = inbox.get()
    finder = _Finder(where)
    pipe.send({"t": "ready", "error": confine(**where["limits"]) or finder.load()})
    while True:
        _serve(inbox.get(), finder, pipe, running)


def _serve(order: dict[str, Any], finder: "_Finder", pipe: Pipe, running: threading.Event) -> None:
    """Run one job and answer."""
    pipe.staging, pipe.folder = Path(order["staging"]), Path(order["inputs"])
    limit_cpu(order["cpu"])
    running.set()
    # A stop may arrive between any two instructions: the answer is sent with the door closed.
    try:
        answer = _run(finder, order, pipe)
    except BaseException as error:
        answer = _failure(error)
    if pipe.forked:  # the job's own `os.fork` has come to its end
        os._exit(0 if answer["t"] == "completed" else 1)
    running.clear()
    # Where anything is left of the job, the next one gets a process of its own.
    answer["clean"] = threading.active_count() <= 3 and not _has_children() and not _out_of_memory(answer)
    pipe.send(answer)


def die_with(parent: int) -> None:
    """Be killed when the parent ends, however it ends (Linux; elsewhere the closed pipe tells)."""
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        prctl(_PR_SET_CHILD_SUBREAPER, 1)  # what a job starts and orphans can still be found
        if os.getppid() != parent:  # it ended before the call
            os._exit(1)


def _detach_standard_streams() -> None:
    _close_inherited()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle


def _close_inherited() -> None:
    # uvloop closes nothing: its copies of our pipes, and whatever the server's own libraries have left open. What
    # was opened in this process is not inheritable (PEP 446).
    try:
        numbers = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:
        numbers = list(range(1024))
    for number in numbers:
        with suppress(OSError):
            if number > 2 and os.get_inheritable(number):
                os.close(number)


def _has_children() -> bool:
    """Whether the job has left a process running, or one that nobody has waited for."""
    if not hasattr(os, "waitid"):
        return False
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except OSError:
        return False
    return True


def _listen(commands: BinaryIO, pipe: Pipe, inbox: "queue.SimpleQueue[dict[str, Any]]") -> None:
    for line in commands:
        command = json.loads(line)
        if command.get("t") == "cancel":
            pipe.cancelled = True
            pipe.send({"t": "delivered"})
        else:
            # Here and not where it runs: a cancellation may follow on its heels.
            pipe.cancelled = pipe.acknowledged = False
            inbox.put(command)
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # the parent is gone
    os._exit(1)


def _terminated(running: threading.Event) -> None:
    from jalebi.errors import JobStopped

    if running.is_set():
        raise JobStopped("The job was told to stop.")
    os._exit(0)


class _Finder:
    """Imports the target's module and finds kinds in it."""

    def __init__(self, where: dict[str, Any]) -> None:
        self._where = where
        self._shop: Any = None

    def load(self) -> str | None:
        """Import the target; return what went wrong, as one sentence, or None."""
        for path in reversed(self._where["sys_path"]):
            if path not in sys.path:
                sys.path.insert(0, path)
        if self._where["target"] is None:
            return None
        try:
            from jalebi.target import load

            self._shop = load(self._where["target"])
        except BaseException as error:
            return f"The target can't be imported in a child process: {error}"
        return None

    def kind(self, name: str, module: str, file: str | None) -> Any:
        """Return the kind of that name. Raises LookupError."""
        from jalebi.target import load, shops_in

        if self._shop is None and module == "__main__" and file is not None:
            self._shop = load(file)
        if self._shop is not None and name in self._shop.kinds:
            return self._shop.kinds.named(name)
        for shop in shops_in(__import__(module, fromlist=["_"])):
            if name in shop.kinds:
                return shop.kinds.named(name)
        raise LookupError(
            f"The kind {name} is not found in a child process: its module {module} must hold the Jalebi at its top "
            "level, or the kind must be given isolation='thread'."
        )


def _run(finder: _Finder, order: dict[str, Any], pipe: Pipe) -> dict[str, Any]:
    from jalebi.context import JobContext, current
    from jalebi.kinds import Result

    kind = finder.kind(order["kind"], order["module"], order["file"])
    context = JobContext(order["job_id"], order["attempt"], kind.name, pipe)
    current.set(context)
    values = kind.load(order["args"])
    value = kind.function(context, **values) if kind.takes_context else kind.function(**values)
    if inspect.iscoroutine(value):
        value = asyncio.run(value)
    try:
        return {"t": "completed", "result": Result.dump(value, order["max_result"])}
    except ValueError as error:
        return {"t": "failed", "retry": True, "error": _document("ResultError", str(error), None)}


def _failure(error: BaseException) -> dict[str, Any]:
    from jalebi.errors import JobFailed
    from jalebi.runner.describe import describe, stopped

    if isinstance(error, MemoryError):
        clear_frames(error.__traceback__)  # what the job held: to say what happened takes memory too
    if stopped(error):
        return {"t": "stopped"}
    return {"t": "failed", "retry": error.retry if isinstance(error, JobFailed) else True, "error": describe(error)}


def _out_of_memory(answer: dict[str, Any]) -> bool:
    return bool(answer["t"] == "failed" and answer["error"]["type"] == "MemoryError")


def _document(kind: str, message: str, traceback: str | None) -> dict[str, Any]:
    return {"type": kind, "message": message, "traceback": traceback}


if __name__ == "__main__":
    main()
