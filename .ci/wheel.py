"""Starts the installed wheel's demo away from the checkout, and loads the dashboard and a static file from it."""

import re
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path


def main(command: str, folder: str) -> None:
    """Run the check; any failure is an exception."""
    place = Path(folder) / "empty"
    place.mkdir()
    server = subprocess.Popen(
        [command, "demo", "--port", "0", "--database", "sqlite://"], cwd=place, stdout=subprocess.PIPE, text=True
    )
    watchdog = threading.Timer(60, server.kill)
    watchdog.start()
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        found = re.search(r"http://[^ ]+/", line)
        assert found, f"the server did not say where it is: {line!r}"
        base = found[0]
        page = urllib.request.urlopen(base).read().decode()
        assert "<title>" in page
        asset = re.search(r'href="([^"]+\.css[^"]*)"', page)
        assert asset, "the dashboard names no style sheet"
        assert len(urllib.request.urlopen(base.rstrip("/") + asset[1]).read()) > 1000
        print(f"the wheel serves {base} and {asset[1]}")
        server.terminate()
        assert server.wait(30) == 0, "the server did not end well"
    finally:
        watchdog.cancel()
        server.kill()
        server.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
