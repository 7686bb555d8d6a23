import argparse
import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from jalebi.cli import parsed, parser
from jalebi.commands import running
from jalebi.jobs import MOVES
from jalebi.settings import Settings
from jalebi.web import ROUTES
from tests.support import eventually, server

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text()
ARCHITECTURE = (REPOSITORY / "docs" / "architecture.md").read_text()
MAKEFILE = (REPOSITORY / "Makefile").read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def test_the_picture_of_the_states_is_the_table_of_moves() -> None:
    drawn = re.findall(r"^\s+(\w+) --> (\w+)$", blocks(ARCHITECTURE, "mermaid")[0], re.M)
    assert sorted(drawn) == sorted((state.value, target.value) for state in MOVES for target in MOVES[state])


def test_every_setting_is_in_the_readme_with_its_default() -> None:
    rows = dict(re.findall(r"^\| (`JALEBI_[^|]+) \|([^|]*)\|", README, re.M))
    named = {name for cell in rows for name in re.findall(r"`JALEBI_(\w+)`", cell)}
    # These have no use outside of tuning or of the command line's own flags.
    quiet = {"workers", "block_warning"}
    assert {name.lower() for name in named} == set(Settings.model_fields) - quiet
    defaults = Settings()
    for cell, shown in rows.items():
        names = re.findall(r"`JALEBI_(\w+)`", cell)
        values = [part.strip(" `") for part in shown.split(",")]
        for name, value in zip(names, values, strict=False):
            found = getattr(defaults, name.lower())
            if isinstance(found, int | float) and not isinstance(found, bool):
                number, _, unit = value.partition(" ")
                assert float(number) * (1 << 20 if unit == "MiB" else 1) == found, name


def test_every_command_of_the_readme_exists() -> None:
    targets = re.findall(r"^make (\w+)", "\n".join(blocks(README, "sh")), re.M)
    assert set(targets) >= {"run", "check", "test", "faults", "bench"}
    for target in targets:
        assert re.search(rf"^{target}:", MAKEFILE, re.M), target
    ci = (REPOSITORY / ".ci" / "run").read_text()
    assert "make check test" in ci
    assert "make faults" in ci


def test_every_route_that_the_readme_names_is_in_the_table() -> None:
    table = {getattr(route, "path", "") for route in ROUTES}
    table_lines = re.search(r"## HTTP\n(.*?)\n## ", README, re.S)
    assert table_lines is not None
    for path in re.findall(r"(/(?:v1|ws|livez|readyz|openapi)[\w/{}.]*)", table_lines[1]):
        assert path in table, path


def test_every_local_link_of_the_documents_leads_somewhere() -> None:
    for place, text in ((REPOSITORY, README), (REPOSITORY / "docs", ARCHITECTURE)):
        for target in re.findall(r"\]\((?!http)([^)#]+)", text):
            assert (place / target).exists(), target


async def output(*command: str) -> str:
    """Run a command and return what it printed."""
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(30):
        printed, _ = await process.communicate()
    assert process.returncode == 0
    return printed.decode()


async def test_the_readmes_job_is_served_and_its_curl_and_python_follow_it(tmp_path: Path) -> None:
    source, follower = blocks(README, "python")[:2]
    assert (
        len([line for line in source.splitlines() if line.strip() and not line.startswith(("#", "import", "from"))])
        <= 10
    )
    (tmp_path / "sweets.py").write_text(source)
    with server("serve", "sweets.py", "--port", "0", "--database", "sqlite://", cwd=tmp_path) as process:
        url = process.ready()
        curl = next(block for block in blocks(README, "sh") if "curl -i" in block)
        here = curl.replace("http://127.0.0.1:8000", url).replace('{"title": "Q3"}', '{"title": "Q3", "pages": 12}')
        answer = await output("sh", "-c", here.replace("curl -i", "curl -s -i"))
        assert answer.startswith("HTTP/1.1 202 Accepted")
        job: dict[str, Any] = json.loads(answer.split("\r\n\r\n", 1)[1])
        follow = follower.replace("127.0.0.1:8000", url.removeprefix("http://")).replace("0199…", job["id"])
        assert (await output(sys.executable, "-c", follow)).splitlines()[-1].startswith("completed")
        async with httpx2.AsyncClient(base_url=url, follow_redirects=True) as client:

            async def over() -> Any | None:
                found = await client.get(job["links"]["status"])
                return found.json() if found.request.url.path.endswith("/result") else None

            assert await eventually(over) == {"title": "Q3", "pages": 12}


async def test_the_readmes_script_hands_in_a_job_and_prints_its_result(tmp_path: Path) -> None:
    (tmp_path / "sweets.py").write_text(blocks(README, "python")[0])
    script = next(block for block in blocks(README, "sh") if "--etag-compare" in block)
    commands = [line for line in script.splitlines() if not line.startswith("     ")]
    assert len(commands) <= 10
    with server("serve", "sweets.py", "--port", "0", "--database", "sqlite://", cwd=tmp_path) as process:
        url = process.ready()
        here = script.replace("http://127.0.0.1:8000", url).replace('{"title": "Q3"}', '{"title": "Q3", "pages": 12}')
        *progress, result = (await output("sh", "-c", here)).splitlines()
    assert json.loads(result) == {"title": "Q3", "pages": 12}
    assert re.fullmatch(r"(running \d+ %\n)+completed 100 %", "\n".join(progress))


async def test_the_readmes_batch_is_taken(tmp_path: Path) -> None:
    (tmp_path / "sweets.py").write_text(blocks(README, "python")[0])
    command = next(block for block in blocks(README, "sh") if "/v1/jobs/batch" in block)
    with server(
        "serve", "sweets.py", "--port", "0", "--database", "sqlite://", "--no-workers", cwd=tmp_path
    ) as process:
        url = process.ready()
        answer = await output("sh", "-c", command.replace("http://127.0.0.1:8000", url).replace("curl", "curl -s"))
    states = [job["state"] for job in json.loads(answer)["jobs"]]
    assert states == ["queued", "queued", "blocked"]


async def test_the_readmes_client_follows_a_job_and_prints_its_result(tmp_path: Path) -> None:
    source = blocks(README, "python")[0]
    [client] = [block for block in blocks(README, "python") if "jalebi.client" in block]
    (tmp_path / "sweets.py").write_text(source)
    with server("serve", "sweets.py", "--port", "0", "--database", "sqlite://", cwd=tmp_path) as process:
        url = process.ready()
        printed = await output(sys.executable, "-c", client.replace("http://127.0.0.1:8000", url))
        assert printed.splitlines()[0].startswith("created")
        assert printed.splitlines()[-1] == "{'title': 'Q3', 'pages': 12}"


def commands() -> dict[str, argparse.ArgumentParser]:
    [found] = [action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found.choices)


def test_the_readmes_commands_are_those_of_the_command_line() -> None:
    section = re.search(r"## From a shell\n(.*?)\n## ", README, re.S)
    assert section is not None
    sentence = re.search(r"^`jalebi submit`.*? talk to", section[1], re.S | re.M)
    assert sentence is not None
    named = [words.removeprefix("jalebi ") for words in re.findall(r"`([a-z ]+)`", sentence[0])]
    assert set(named) == set(commands()) - {"serve", "demo"}
    shown = [line.partition("#")[0].partition("|")[0] for line in blocks(section[1], "sh")[0].splitlines()]
    for line in shown:
        assert parsed(parser(), line.split()[1:]).command in named
    for words in re.findall(r"`(--[a-z-]+)`", section[1]):
        assert any(words in command.format_help() for command in commands().values()), words


def test_the_exit_codes_of_the_readme_are_those_of_the_commands() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \|", README, re.M)
    codes = {int(code) for row in rows for code in row.split(",")}
    assert codes == {0, running.FAILED, running.USAGE, running.CANCELLED, running.UNREACHABLE, running.INTERRUPTED}
    for name in ("submit", "watch", "result"):
        said = commands()[name].format_help()
        for code, word in ((0, "completed"), (1, "failed"), (2, "usage"), (3, "cancelled"), (4, "cannot reach")):
            assert f"{code} {word}" in " ".join(said.split())


@pytest.mark.parametrize("word", ["sess" + "ion", "iss" + "ue #", "/wo" + "rk/"])
def test_the_documents_speak_of_the_project_alone(word: str) -> None:
    assert word not in README + ARCHITECTURE
