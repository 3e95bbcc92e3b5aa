"""Three runs of one manifest on one database, one of them killed while you watch: `make cluster`.

Wants PostgreSQL: that of RIVYA_TEST_PG, or the one installed here. Everything happens in a temporary folder, and the
service is the sandbox: nothing is paid.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.databases import NoServer, server
from tests.support import Process, Sandbox, clean_environment, programme

JOBS = 240
RATE = 15  # requests per second of the account
KILL_AFTER_S = 8.0
LONGEST_S = 180.0


def main() -> int:
    """Run it, and say who did what; 0 where the service's book and ours agree."""
    try:
        address = server()
    except NoServer as exc:
        print(exc)
        return 1
    folder = Path(tempfile.mkdtemp(prefix="rivya-cluster-"))
    sandbox = Sandbox.start("--duration", "2:5", "--rate", str(RATE), state=folder / "service.db")
    environment = clean_environment(
        RIVYA_STATE=address, RIVYA_BASE_URL=sandbox.base_url, RIVYA_API_KEY=sandbox.key
    )
    night = folder / "night.yaml"
    document = {
        "version": 1,
        "name": "night",
        "model": "grok-imagine-video",
        "prompt": "a red kite over a green hill",
        "polling": {"first_s": 1, "min_s": 1},
        "limits": {"requests_per_second": RATE},
        "idempotency": {"resend_after": "2s"},
        "jobs": [{"id": "kite", "repeat": JOBS}],
    }
    night.write_text(json.dumps(document, indent=1), encoding="utf-8")

    def start(number: int) -> Process:
        with (folder / f"run-{number}.log").open("w") as log:
            return subprocess.Popen(
                [*programme(), "run", str(night), "--yes"],
                env=environment,
                cwd=folder,
                stdout=log,
                stderr=log,
                text=True,
            )

    def say(*arguments: str) -> None:
        subprocess.run([*programme(), *arguments], env=environment, cwd=folder, check=False)

    print(f"three runs of {night}, {JOBS} jobs, {RATE} requests/s for all of them")
    running = [start(number) for number in (1, 2, 3)]
    began = time.monotonic()
    killed = False
    while any(each.poll() is None for each in running) and time.monotonic() - began < LONGEST_S:
        time.sleep(2.0)
        if not killed and time.monotonic() - began > KILL_AFTER_S:
            killed = True
            running[0].kill()
            print(f"\n--- kill -9 of process {running[0].pid}; the others go on with its jobs ---\n")
        say("workers")
        print(f"at the service: {dict(sandbox.ledger()['statuses'])}\n", flush=True)

    codes = [each.wait() for each in running]
    book = sandbox.ledger()
    print(
        f"exit codes {codes}; the book of the service: {len(book['tasks'])} tasks, {book['charged']} credits,",
        end="",
    )
    print(f" paid twice: {book['paid_twice'] or 'none'}\n")
    say("workers")
    say("credits")
    print(f"\nthe page: {folder / 'out' / 'night' / 'report.html'}; the logs: {folder}/run-*.log")
    sandbox.close()
    return int(codes[1:] != [0, 0] or len(book["tasks"]) != JOBS or bool(book["paid_twice"]))


if __name__ == "__main__":
    sys.exit(main())
