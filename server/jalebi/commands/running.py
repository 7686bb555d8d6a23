"""Runs one of the client's commands, and says in one sentence what went wrong."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import Final

from jalebi.client import ClientError, JobCancelled, JobFailed, ProblemError, Unavailable, Unreachable
from jalebi.commands import acting
from jalebi.commands.connecting import Usage, address
from jalebi.commands.output import Output, say

FAILED: Final = 1
USAGE: Final = 2
CANCELLED: Final = 3
UNREACHABLE: Final = 4
INTERRUPTED: Final = 130  # as a shell says it: 128 and the signal's number
BROKEN_PIPE: Final = 141

Command = Callable[[argparse.Namespace, Output], int]


def run(options: argparse.Namespace) -> int:
    """Run a command and return its exit code."""
    try:
        return _command(options.command)(options, Output(options.json_lines))
    except (Usage, ClientError) as error:
        say(f"{address(options)}: {error}" if isinstance(error, Unreachable) else error)
        return exit_code(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Nobody reads any more, which is not worth a word; nor is it to the interpreter, which will flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def exit_code(error: Exception) -> int:
    """Return the exit code of an error: 1 and 3 are about the job, 2 about what was asked for, 4 about the server."""
    match error:
        case JobFailed():
            return FAILED
        case JobCancelled():
            return CANCELLED
        case ProblemError(status=status):
            return UNREACHABLE if isinstance(error, Unavailable) or status >= 500 else USAGE
        case Usage():
            return USAGE
        case _:
            return UNREACHABLE


def _command(name: str) -> Command:
    if name == "watch":
        from jalebi.commands.watching import watch  # asyncio is only needed to follow many

        return watch
    commands: dict[str, Command] = {
        "submit": acting.submit,
        "show": acting.show,
        "list": acting.listed,
        "result": acting.result,
        "logs": acting.logs,
        "cancel": acting.cancel,
        "retry": acting.retry,
        "kinds": acting.kinds,
    }
    return commands[name]
