"""The client needs nothing of the server."""

import subprocess
import sys

import pytest

import jalebi

SERVER = {"starlette", "uvicorn", "sqlalchemy", "sqlmodel", "pydantic", "pydantic_settings", "jinja2"}


def loaded(code: str) -> set[str]:
    """Return the modules that there are after some code in a fresh interpreter."""
    found = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print('\\n'.join(sys.modules))"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return set(found.stdout.split())


def test_the_client_loads_nothing_of_the_server() -> None:
    modules = loaded("import jalebi.client")
    ours = {name for name in modules if name.split(".")[0] == "jalebi"}
    assert {name for name in ours if not name.startswith("jalebi.client")} == {"jalebi"}
    assert not modules & (SERVER | {"rich"})


@pytest.mark.parametrize(
    "command", ["['show', 'x', '--url', 'http://127.0.0.1:9']", "['--version']", "['submit', '-h']"]
)
def test_the_commands_load_nothing_of_the_server(command: str) -> None:
    code = (
        "import jalebi.commands.connecting as c; c.FIRST = 0.0; import jalebi.cli\n"
        f"try: jalebi.cli.main({command})\nexcept SystemExit: pass"
    )
    modules = loaded(code)
    assert not modules & SERVER
    assert not {name for name in modules if name.startswith("jalebi.")} & {
        "jalebi.app",
        "jalebi.serve",
        "jalebi.errors",
    }


def test_a_command_line_that_is_only_read_loads_no_client() -> None:
    modules = loaded("import jalebi.cli; jalebi.cli.parser()")
    assert not modules & {"httpx2", "rich", "jalebi.client", "websockets", "asyncio"}


def test_the_public_names_are_still_there() -> None:
    assert set(jalebi.__all__) <= set(dir(jalebi))
    assert all(getattr(jalebi, name) for name in jalebi.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = jalebi.nothing
