"""What a shell offers when Tab is pressed: kinds, their arguments, and ids of jobs, from the server, if it is quick."""

import argparse
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from jalebi.client import Client

#: Seconds that somebody who has pressed Tab waits.
PATIENCE: Final = 1.0
#: Ids that are offered.
OFFERED: Final = 50


def offer(action: argparse.Action, completer: Callable[..., Iterable[str]]) -> None:
    """Let a completer say what an argument may be."""
    action.completer = completer  # type: ignore[attr-defined]


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell and end the process, where it is a shell that asks."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)


def kinds(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Return the names of the kinds."""
    return _asked(parsed_args, lambda client: [kind.name for kind in client.kinds()])


def pairs(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Return the names of the arguments of the kind, each with its sign."""

    def names(client: "Client") -> list[str]:
        found = [kind for kind in client.kinds() if kind.name == parsed_args.kind]
        return [f"{name}=" for kind in found for name in kind.args_schema.get("properties", {})]

    return _asked(parsed_args, names)


class Ids:
    """Offers the ids of the newest jobs in some states; in any, where none is named."""

    def __init__(self, states: tuple[str, ...] = ()) -> None:
        self._states = states

    def __call__(self, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
        """Return the ids."""
        return _asked(parsed_args, lambda client: [job.id for job in client.list(state=self._states, limit=OFFERED)])


def _asked(options: argparse.Namespace, ask: Callable[["Client"], list[str]]) -> list[str]:
    from jalebi.client import ClientError
    from jalebi.commands.connecting import Usage, connect

    try:
        with connect(options, patience=PATIENCE) as client:
            return ask(client)
    except (ClientError, Usage):
        return []  # nothing to offer is no reason to fail
