"""Runs `jalebi` as a shell would: with pipes, or in a pseudo-terminal whose screen can be looked at."""

import asyncio
import fcntl
import json
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.support import PATIENCE, Live, eventually

#: Makes the terminal on standard input the one whose Ctrl-C reaches the command, then becomes the command.
_IN_TERMINAL = (
    "import os, sys; os.setsid(); os.close(os.open(os.ttyname(0), os.O_RDWR)); os.execv(sys.argv[1], sys.argv[1:])"
)
_COMMAND = (sys.executable, "-m", "jalebi")


def environment(live: Live | None, env: Mapping[str, str] | None = None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR", "COLUMNS"}}
    return {**kept, "TERM": "xterm-256color", **({"JALEBI_URL": live.url} if live else {}), **(env or {})}


@dataclass
class Done:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


async def run(live: Live | None, *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Done:
    """Run a command with pipes."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *_COMMAND, *arguments, stdin=pipe, stdout=pipe, stderr=pipe, env=environment(live, env)
    )
    try:
        async with asyncio.timeout(2 * PATIENCE):
            out, err = await process.communicate(stdin)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


class Terminal:
    """A command in a pseudo-terminal: `frames` are the screens there were, each when something was written."""

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self.process = process
        self.raw = ""
        self.frames: list[list[str]] = []
        self._master = master
        self._screen = Screen()
        self._pending = b""
        asyncio.get_running_loop().add_reader(master, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:  # nobody holds the other end any more
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._master)
            return
        self._pending += data
        text = self._pending.decode(errors="ignore")
        self._pending = self._pending[len(text.encode()) :]
        self.raw += text
        self._screen.write(text)
        self.frames.append(self._screen.shown)

    @property
    def shown(self) -> str:
        """What the screen shows now."""
        return "\n".join(self._screen.shown)

    def resize(self, columns: int, rows: int = 24) -> None:
        """Change the size of the window."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self._master, keys)

    async def until(self, seen: Callable[[], bool]) -> None:
        """Wait until the screen is as it should be."""

        async def look() -> bool | None:
            return True if seen() else None

        await eventually(look)

    async def end(self) -> int:
        """Wait for the end; return the exit code."""
        async with asyncio.timeout(PATIENCE):
            code = await self.process.wait()
        self._read_rest()
        return code

    def _read_rest(self) -> None:
        os.set_blocking(self._master, False)
        length = -1
        while length != len(self.raw):
            length = len(self.raw)
            self._read()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)


class Screen:
    """As much of a terminal as the bars need: lines that are written, wiped and gone back to."""

    def __init__(self) -> None:
        self._lines = [""]
        self._row = self._column = 0
        self._rest = ""

    @property
    def shown(self) -> list[str]:
        return [line.rstrip() for line in self._lines if line.strip()]

    def write(self, text: str) -> None:
        text = self._rest + text
        # An escape sequence may come in two pieces.
        cut = re.search(r"\x1b(\[[0-9;?]*)?$", text)
        self._rest, text = (text[cut.start() :], text[: cut.start()]) if cut else ("", text)
        for sequence, number, verb, char in re.findall(r"(\x1b\[\??([0-9;]*)([A-Za-z]))|(.|\s)", text):
            if sequence:
                self._obey(verb, number)
            else:
                self._put(char)

    def _obey(self, verb: str, number: str) -> None:
        match verb:
            case "A":
                self._row = max(0, self._row - int(number or 1))
            case "K":
                self._lines[self._row] = "" if number == "2" else self._lines[self._row][: self._column]
            case "m" | "h" | "l":
                pass
            case _:
                raise AssertionError(f"the screen does not know {verb!r}")

    def _put(self, char: str) -> None:
        if char == "\r":
            self._column = 0
        elif char == "\n":
            self._row += 1
            self._lines += [""] * (self._row + 1 - len(self._lines))
        else:
            line = self._lines[self._row].ljust(self._column)
            self._lines[self._row] = line[: self._column] + char + line[self._column + 1 :]
            self._column += 1


@asynccontextmanager
async def terminal(
    live: Live, *arguments: str, columns: int = 120, env: Mapping[str, str] | None = None
) -> AsyncIterator[Terminal]:
    """Run a command in a pseudo-terminal."""
    master, slave = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _IN_TERMINAL, *_COMMAND, *arguments,
        stdin=slave, stdout=slave, stderr=slave, env=environment(live, env),
    )  # fmt: skip
    os.close(slave)
    opened = Terminal(process, master)
    try:
        yield opened
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        opened.close()
