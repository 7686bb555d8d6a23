import json

import websockets

from tests.support import Live


async def test_a_job_goes_the_whole_way(live: Live) -> None:
    job = await live.submit("steps", args={"count": 5})
    async with websockets.connect(f"{live.ws}/ws/jobs/{job['id']}") as socket:
        heard = [json.loads(message) async for message in socket]
    assert heard[0]["type"] == "snapshot"
    assert heard[-1]["type"] == "completed"
    assert socket.close_code == 1000
    answer = await live.client.get(f"/v1/jobs/{job['id']}/status", follow_redirects=True)
    assert answer.json() == 5
