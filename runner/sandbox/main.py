"""Start the sandbox: bind, say where, serve until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence

from runner.sandbox.options import SandboxOptions, parse_options

EXIT_USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Read flags and serve; return an exit code."""
    options = parse_options(sys.argv[1:] if argv is None else argv)
    try:
        serve(options)
    except Exception as exc:
        if not _is_usage(exc):
            raise
        print(f"rivya-batch sandbox: {exc}", file=sys.stderr)
        return EXIT_USAGE
    return 0


def serve(options: SandboxOptions) -> None:
    """Serve until SIGINT, SIGTERM, `POST /_sandbox/stop`, or (if so asked) the end of standard input.

    One JSON line goes to `options.announce_fd` as soon as connections are accepted:
    `{"base_url": "http://127.0.0.1:4010", "pid": 123, "state": "sandbox.db"}`.

    Raises:
        NotLoopback, StateInUse, BadRule, FileNotFoundError, OSError: It cannot start as asked.
    """
    # Late, so that `--help` does not pay for a web server.
    from runner.sandbox.app import create_app
    from runner.sandbox.server import SandboxServer, listening_socket

    app = create_app(options)
    service = app.state.service
    remembered = int(service.storage.find_setting("port") or 0)
    listener = listening_socket(options.host, options.port, remembered=remembered or None)
    port = listener.getsockname()[1]
    service.storage.set_setting("port", str(port))
    name = f"[{options.host}]" if ":" in options.host else options.host
    service.base_url = f"http://{name}:{port}"

    def announce() -> None:
        line = json.dumps({"base_url": service.base_url, "pid": os.getpid(), "state": options.state})
        with contextlib.suppress(OSError):  # whoever asked may be gone already
            os.write(options.announce_fd, line.encode() + b"\n")

    server = SandboxServer(app, announce=announce)

    async def run() -> None:
        if options.die_with_stdin:
            loop = asyncio.get_running_loop()
            _watch_stdin(lambda: loop.call_soon_threadsafe(server.stop))
        await server.serve(sockets=[listener])

    try:
        asyncio.run(run())
    finally:
        service.storage.close()


def _watch_stdin(stop: Callable[[], object]) -> None:
    """Call `stop` when standard input ends, which happens however its other end dies."""

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        with contextlib.suppress(RuntimeError):  # the loop has ended on its own
            stop()
        # An orphan must not stay, whatever keeps the loop busy; the ledger is committed at every answer.
        time.sleep(2)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def _is_usage(exc: Exception) -> bool:
    from runner.sandbox.faults import BadRule
    from runner.sandbox.server import NotLoopback
    from runner.sandbox.storage import StateInUse

    return isinstance(exc, BadRule | NotLoopback | StateInUse | FileNotFoundError | OSError)
