"""The server process: Jalebi or the bare application, run by Jalebi's own `serve` on the first core."""

import json
import signal
import sys

from benchmarks.machine import SERVER_CPU, pin
from benchmarks.processes import LIFE
from jalebi.serve import serve


def main() -> None:
    """Serve until a signal, or until the process is too old."""
    if hasattr(signal, "alarm"):
        signal.alarm(LIFE)
    pin(SERVER_CPU)
    if sys.argv[1] == "bare":
        from benchmarks.bare import Bare

        bare = Bare()
        bare.configure(port=0)
        serve(bare)
    else:
        from benchmarks.shop import shop

        settings = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
        # More than any run submits: a full queue would be measured as a fast refusal.
        defaults = {"port": 0, "database_url": "sqlite:///jobs.db", "max_waiting": 100_000_000, "grace": 0.5}
        shop.configure(**(defaults | settings))
        serve(shop)


if __name__ == "__main__":
    main()
