"""What the client's commands take on the command line; kept light, for every command starts with it."""

import argparse
from typing import Any, Final, Protocol

from jalebi.commands import completing

DEFAULT_URL: Final = "http://127.0.0.1:8000"
#: Jobs that `list` shows unless it is told otherwise.
LISTED: Final = 50
STATES: Final = (
    "scheduled", "queued", "retrying", "blocked", "running", "cancelling", "completed", "failed", "cancelled",
)  # fmt: skip
#: Where words go that argparse has left over: it takes a list of words in one piece only, options may stand between.
MORE: Final = {"submit": "pairs", "watch": "ids"}

_EXITS: Final = "exit codes: 0 completed, 1 failed, 2 usage, 3 cancelled, 4 cannot reach the server"
_PAIRS: Final = (
    "an argument of the job; the value is read as JSON where it is JSON (pages=3, draft=true, tags='[\"a\"]'), and as "
    "text elsewhere (title=Q3); a text that looks like JSON goes in quotes of its own (zip='\"0123\"')"
)


class Commands(Protocol):
    """What argparse's `add_subparsers` returns."""

    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser:
        """Add a command."""


def add_to(commands: Commands) -> None:
    """Add the client's commands."""
    common = _common()
    _add_submit(commands, common)
    watch = _add(commands, common, "watch", "follow jobs until they are over", epilog=_EXITS)
    _ids(watch, "ids", "ID…", states=STATES[:6], nargs="+")
    _ids(_add(commands, common, "show", "show a job"), "id", "ID")
    _add_list(commands, common)
    result = _add(commands, common, "result", "print what a job returned", epilog=_EXITS)
    _ids(result, "id", "ID", states=("completed", "failed"))
    logs = _add(commands, common, "logs", "print a job's log")
    _ids(logs, "id", "ID")
    logs.add_argument("--follow", action="store_true", help="go on until the job is over")
    logs.add_argument("--after", metavar="LINE", type=int, default=0, help="begin after this line")
    cancel = _add(commands, common, "cancel", "cancel a job, or ask a running one to stop")
    _ids(cancel, "id", "ID", states=STATES[:5])
    cancel.add_argument("--reason", help="why, for those who look at the job")
    _ids(_add(commands, common, "retry", "start a job over that is over"), "id", "ID", states=STATES[6:])
    _add(commands, common, "kinds", "list what can be submitted")


def _common() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    server = common.add_argument_group("server")
    server.add_argument("--url", help=f"where the server is (JALEBI_URL; default {DEFAULT_URL})")
    server.add_argument("--token", help="the server's token (JALEBI_TOKEN)")
    server.add_argument(
        "--json-lines", action="store_true", help="print one JSON object a line, as is done away from a terminal"
    )
    return common


def _add(
    commands: Commands, common: argparse.ArgumentParser, name: str, said: str, epilog: str | None = None
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name, help=said, description=f"{said[0].upper()}{said[1:]}.", epilog=epilog, parents=[common]
    )


def _ids(
    command: argparse.ArgumentParser, name: str, shown: str, *, states: tuple[str, ...] = (), nargs: str | None = None
) -> None:
    action = command.add_argument(name, metavar=shown.rstrip("…"), nargs=nargs, help="a job's id")
    completing.offer(action, completing.Ids(states))


def _add_submit(commands: Commands, common: argparse.ArgumentParser) -> None:
    submit = _add(commands, common, "submit", "submit a job", epilog=f"with --wait, {_EXITS}")
    completing.offer(
        submit.add_argument("kind", metavar="KIND", help="what to run; see `jalebi kinds`"), completing.kinds
    )
    pairs = submit.add_argument("pairs", metavar="key=value", nargs="*", help=_PAIRS)
    completing.offer(pairs, completing.pairs)
    submit.add_argument(
        "--json", metavar="ARGS", dest="args", help="all arguments as a JSON object, @FILE, or - for standard input"
    )
    submit.add_argument("--wait", action="store_true", help="follow the job until it is over")
    submit.add_argument("--queue", help="the line to wait in")
    submit.add_argument("--priority", type=int, help="higher goes first")
    submit.add_argument("--tag", action="append", dest="tags", metavar="TAG", help="a tag; may be given more than once")
    submit.add_argument("--delay", type=float, metavar="SECONDS", help="do not start before")
    submit.add_argument("--run-at", metavar="TIME", help="do not start before, like 2026-01-31T09:30:00Z")
    submit.add_argument("--timeout", type=float, metavar="SECONDS", help="how long an attempt may take")
    submit.add_argument("--max-attempts", type=int, metavar="N", help="how often it is tried")
    after = submit.add_argument("--after", action="append", metavar="ID", help="a job that must be completed before")
    completing.offer(after, completing.Ids(STATES[:6]))
    submit.add_argument("--webhook", metavar="URL", help="an address to tell when the job is over")
    submit.add_argument("--idempotency-key", metavar="KEY", help="makes one job of all submissions with the same key")


def _add_list(commands: Commands, common: argparse.ArgumentParser) -> None:
    listed = _add(commands, common, "list", "list jobs, newest first")
    listed.add_argument("--state", action="append", metavar="STATE", choices=STATES, help=", ".join(STATES))
    completing.offer(listed.add_argument("--kind", action="append", help="of this kind"), completing.kinds)
    listed.add_argument("--queue", action="append", help="in this queue")
    listed.add_argument("--tag", action="append", help="with this tag")
    listed.add_argument("-q", metavar="TEXT", help="with this text in id, kind, arguments or tags")
    listed.add_argument("--limit", type=int, default=LISTED, metavar="N", help=f"at most (default {LISTED}; 0 for all)")
