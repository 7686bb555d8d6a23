"""The commands that ask once: submit, show, list, result, logs, cancel, retry, kinds."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from jalebi.client import Options
from jalebi.commands import showing
from jalebi.commands.connecting import AGAIN, ENDS, Usage, connect
from jalebi.commands.output import Output


def submit(options: argparse.Namespace, out: Output) -> int:
    """Submit a job, and follow it where that is wished."""
    args = arguments(options.args, options.pairs)
    with connect(options) as client:
        job = client.submit(options.kind, args, idempotency_key=options.idempotency_key, **_chosen(options))
        if not options.wait:
            out.either(job.wire, showing.job_line(job))
            return 0
        if not out.human:
            job = client.wait(job.id, patience=AGAIN)
            out.line(job.wire)
            return ENDS.get(job.state, 0)
    from jalebi.commands.watching import watch_ids

    return watch_ids(options, [job.id], out)


def _chosen(options: argparse.Namespace) -> Options:
    return Options(
        queue=options.queue,
        priority=options.priority,
        tags=options.tags,
        run_at=options.run_at,
        delay=options.delay,
        timeout=options.timeout,
        max_attempts=options.max_attempts,
        webhook=options.webhook,
        after=options.after,
    )


def arguments(whole: str | None, pairs: Sequence[str]) -> dict[str, Any]:
    """Return a job's args: the JSON object first, then each `key=value`. Raises Usage."""
    found = _object(whole) if whole is not None else {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not sign or not name:
            raise Usage(f"{pair!r} is not key=value.")
        try:
            found[name] = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeError):
            found[name] = text
    return found


def _object(text: str) -> dict[str, Any]:
    try:
        if text == "-":
            content: str | bytes = sys.stdin.buffer.read()
        else:
            content = Path(text[1:]).read_bytes() if text.startswith("@") else text
        found = msgspec.json.decode(content)
    except OSError as error:
        raise Usage(f"{text[1:]} can't be read: {error.strerror}.") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Usage(f"What --json gives is not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise Usage("What --json gives must be a JSON object.")
    return found


def show(options: argparse.Namespace, out: Output) -> int:
    """Show a job."""
    with connect(options) as client:
        job = client.get(options.id)
    out.either(job.wire, showing.job_page(job))
    return 0


def listed(options: argparse.Namespace, out: Output) -> int:
    """List jobs."""
    with connect(options) as client:
        jobs = client.list(
            state=options.state, kind=options.kind, queue=options.queue, tag=options.tag, q=options.q,
            limit=options.limit or None,
        )  # fmt: skip
        if out.human:
            out.print(showing.job_table(jobs, out.console.width))
        else:
            for job in jobs:
                out.line(job.wire)
    return 0


def result(options: argparse.Namespace, out: Output) -> int:
    """Print what a job returned."""
    with connect(options) as client:
        found = client.result(options.id)
    out.either(found, showing.value(found))
    return 0


def logs(options: argparse.Namespace, out: Output) -> int:
    """Print a job's log."""
    with connect(options) as client:
        if options.follow:
            client.get(options.id)  # whether the server is there at all is known soon
        for line in client.logs(options.id, options.after, follow=options.follow, patience=AGAIN):
            out.either(line.wire, showing.log_line(line))
    return 0


def cancel(options: argparse.Namespace, out: Output) -> int:
    """Cancel a job, or ask a running one to stop."""
    with connect(options) as client:
        job = client.cancel(options.id, options.reason)
    out.either(job.wire, showing.job_line(job))
    return 0


def retry(options: argparse.Namespace, out: Output) -> int:
    """Start a job over."""
    with connect(options) as client:
        job = client.retry(options.id)
    out.either(job.wire, showing.job_line(job))
    return 0


def kinds(options: argparse.Namespace, out: Output) -> int:
    """List what can be submitted."""
    with connect(options) as client:
        found = client.kinds()
    if out.human:
        out.print(showing.kind_table(found))
    else:
        for kind in found:
            out.line(kind.wire)
    return 0
