# PYTHON_ARGCOMPLETE_OK
"""The command line: `jalebi serve TARGET`, `jalebi demo`, and the commands that talk to a server."""

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import jalebi
from jalebi.commands import arguments as client
from jalebi.commands import completing

if TYPE_CHECKING:
    from jalebi.app import Jalebi

_DEMO_NEEDS: Final = {"fpdf": "fpdf2", "PIL": "pillow", "aiosmtplib": "aiosmtplib", "aiosmtpd": "aiosmtpd"}
#: What runs here; every other command asks a server.
_SERVING: Final = frozenset({"serve", "demo"})


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = argparse.ArgumentParser(prog="jalebi", description="Run slow work outside of requests, and watch it.")
    top.add_argument("--version", action="version", version=f"jalebi {jalebi.__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    one = commands.add_parser("serve", help="serve a target: HTTP, WebSockets, the dashboard, and workers")
    one.add_argument("target", metavar="TARGET", help="package.module, package.module:attribute or path/to/file.py")
    _server_options(one)
    demo = commands.add_parser("demo", help="serve the bundled example kinds")
    _server_options(demo)
    client.add_to(commands)
    return top


def _server_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--host", help="the address to listen on (default 127.0.0.1)")
    command.add_argument("--port", type=int, help="the port to listen on (default 8000; 0 takes a free one)")
    command.add_argument("--database", metavar="URL", help="where jobs are kept (default sqlite:///jalebi.db)")
    command.add_argument(
        "--workers", action=argparse.BooleanOptionalAction, default=None, help="whether the server runs jobs itself"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; what can't be done is said in one sentence, with exit code 2."""
    top = parser()
    completing.complete(top)
    options = parsed(top, arguments)
    if options.command in _SERVING:
        _serve(options)
        return
    from jalebi.commands.running import run  # none of what it needs is needed to serve

    sys.exit(run(options))


def parsed(top: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options; words that belong to a command's list may stand between options."""
    options, rest = top.parse_known_args(arguments)
    name = client.MORE.get(options.command)
    if rest and (name is None or any(word.startswith("-") for word in rest)):
        top.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest and name is not None:
        getattr(options, name).extend(rest)
    return options


def _serve(options: argparse.Namespace) -> None:
    import logging

    from jalebi.errors import UsageError

    logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("jalebi").setLevel(logging.INFO)  # what libraries say below a warning is theirs
    try:
        from jalebi.assets import EXAMPLES
        from jalebi.serve import serve

        shop = _shop(str(EXAMPLES / "shop.py") if options.command == "demo" else options.target, options.command)
        shop.configure(**_overrides(options))
        serve(shop)
    except UsageError as error:
        print(f"jalebi: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _shop(target: str, command: str) -> "Jalebi":
    from jalebi.app import Jalebi
    from jalebi.errors import TargetError, UsageError
    from jalebi.target import load

    if command == "demo":
        missing = [package for module, package in _DEMO_NEEDS.items() if find_spec(module) is None]
        if missing:
            raise UsageError(f"The demo needs {', '.join(missing)}; install them with: pip install 'jalebi[demo]'")
    shop = load(target)
    if not isinstance(shop, Jalebi):
        raise TargetError(f"{target} is not a Jalebi.")
    shop.target = target
    return shop


def _overrides(options: argparse.Namespace) -> dict[str, Any]:
    given = {
        "host": options.host, "port": options.port, "database_url": options.database, "workers": options.workers,
    }  # fmt: skip
    return {name: value for name, value in given.items() if value is not None}


if __name__ == "__main__":
    main()
