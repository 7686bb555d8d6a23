"""The power fails at any moment while jobs come in and end: what callers were told is on the disk, whole."""

import asyncio
import random
from pathlib import Path
from typing import Final

import httpx2
import pytest

from tests.faults.harness import dice, figures, times
from tests.faults.storage import BROKEN, Forgetful, Server, Told, check_disk

pytestmark = pytest.mark.faults

CALLERS: Final = 6
#: Rounds in which a broken build must have lost something.
NOTICED: Final = 5


async def call(client: httpx2.AsyncClient, told: Told, rng: random.Random) -> None:
    """Submit jobs, hand in files, and look at what becomes of them, until the server is gone."""
    mine: list[str] = []
    with_file: str | None = None
    while True:
        given = f"{rng.getrandbits(64):x}" * rng.choice([1, 10, 200])
        kind = rng.choice(["echo", "echo", "keep", "digest"])
        try:
            if kind == "digest":
                if with_file is None or rng.random() < 0.5:
                    with_file = await told.upload(client, given)
                given = with_file or ""
            answer = await told.submit(client, kind, given)
            mine.append(answer.json()["id"])
            for job_id in mine[-5:]:
                if job_id not in told.ended:
                    await told.look(client, job_id)
        except (httpx2.TransportError, ValueError):  # killed, before an answer or in the midst of it
            return


async def one_round(place: Path, disk: Forgetful, told: Told, rng: random.Random, broken: str | None) -> None:
    with Server(place, disk.live, broken=broken, env=disk.env) as server:
        await server.started()
        async with server.client() as client, asyncio.TaskGroup() as callers:
            for _ in range(CALLERS):
                callers.create_task(call(client, told, random.Random(rng.random())))
            await asyncio.sleep(rng.uniform(0.1, 0.9))  # the moment is what the test is about
            await server.kill()
    disk.lose_power(rng, stray=rng.choice([0.0, 0.0, 0.3, 0.9]))


async def test_nothing_that_callers_were_told_is_lost_with_the_power(tmp_path: Path) -> None:
    rng, told, disk = dice("power loss"), Told(), Forgetful(tmp_path)
    findings: list[str] = []
    rounds = times(6, 50)
    for number in range(rounds):
        await one_round(tmp_path, disk, told, rng, None)
        findings += [f"round {number + 1}: {found}" for found in check_disk(disk.live, told)]
        if findings:
            break
    with Server(tmp_path, disk.live, env=disk.env) as server:
        await server.started()
        async with server.client() as client:
            await told.all_over(client)
    findings += [f"not completed: {job_id} is {state}" for job_id, state in told.ended.items() if state != "completed"]
    figures(
        "power loss", findings, rounds=rounds, accepted=len(told.accepted), seen_ended=len(told.ended),
        files=len(told.announced), uploads=len(told.uploads),
    )  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_build_that_does_not_sync_is_found_out(tmp_path: Path, broken: str) -> None:
    rng, told, disk = dice(f"power loss without synced {broken}"), Told(), Forgetful(tmp_path)
    findings: list[str] = []
    rounds = 0
    while not findings and rounds < NOTICED:
        rounds += 1
        await one_round(tmp_path, disk, told, rng, broken)
        findings = check_disk(disk.live, told)
    print(f"without synced {broken}: {len(findings)} findings in round {rounds} of {len(told.accepted)} jobs")
    assert findings
