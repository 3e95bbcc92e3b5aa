"""A way to a PostgreSQL server that a test can close: what goes in is held back, or the connections are cut."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

PIECE = 65_536


class WayToServer:
    """Listens on loopback and passes on to a server that listens on a socket file, or on a host.

    `address` is that of the server by this way.
    """

    def __init__(self, server: str) -> None:
        parts = urlsplit(server)
        query = dict(parse_qsl(parts.query))
        host = query.pop("host", None) or parts.hostname or "localhost"
        port = int(query.pop("port", None) or parts.port or 5432)
        self._there: tuple[socket.AddressFamily, object] = (
            (socket.AF_UNIX, f"{host}/.s.PGSQL.{port}")
            if host.startswith("/")
            else (socket.AF_INET, (host, port))
        )
        self._door = socket.create_server(("127.0.0.1", 0))
        user = f"{parts.username}@" if parts.username else ""
        here = f"{user}127.0.0.1:{self._door.getsockname()[1]}"
        self.address = urlunsplit((parts.scheme, here, parts.path, urlencode(query), ""))
        self._open = threading.Event()
        self._open.set()
        self._closed = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def hang(self) -> None:
        """Pass on nothing more, in either direction; no end is told of it."""
        self._open.clear()

    def go_on(self) -> None:
        """Pass on again, what was held back first."""
        self._open.set()

    def cut(self) -> None:
        """End all connections."""
        for pair in self._pairs:
            for each in pair:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def close(self) -> None:
        self._closed = True
        self._open.set()
        self._door.close()
        self.cut()

    def _accept(self) -> None:
        while not self._closed:
            try:
                here, _ = self._door.accept()
            except OSError:
                return
            there = socket.socket(self._there[0])
            try:
                there.connect(self._there[1])
            except OSError:
                here.close()
                there.close()
                continue
            self._pairs.append((here, there))
            threading.Thread(target=self._pass_on, args=(here, there), daemon=True).start()

    def _pass_on(self, here: socket.socket, there: socket.socket) -> None:
        with selectors.DefaultSelector() as either, here, there, contextlib.suppress(OSError):
            either.register(here, selectors.EVENT_READ, there)
            either.register(there, selectors.EVENT_READ, here)
            while True:
                for key, _ in either.select():
                    assert isinstance(key.fileobj, socket.socket)
                    data = key.fileobj.recv(PIECE)
                    self._open.wait()
                    if not data:
                        return
                    key.data.sendall(data)
