"""A drive that answers or does not, as the test says: a file system served by a program, spoken to by hand.

A read that it holds back is not broken off by any signal, which no pipe can imitate. It wants Linux, /dev/fuse and
the right to mount. In it is one file, of any name it is asked for; nothing of it is kept in memory by the system.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import subprocess
import sys
import threading
from enum import IntEnum
from pathlib import Path


class Ask(IntEnum):
    """Requests, as `linux/fuse.h` numbers them."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    OPEN = 14
    READ = 15
    STATFS = 17
    RELEASE = 18
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    INTERRUPT = 36
    BATCH_FORGET = 42


DIRECT = 1  # nothing that was read is kept
MS_NOSUID, MNT_DETACH = 2, 2


class SlowDrive:
    """A mounted drive with one file of these bytes. `hold` keeps all reads waiting, `go` answers them."""

    def __init__(self, point: Path, content: bytes) -> None:
        point.mkdir()
        self.point = point
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(point)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._say(len(content).to_bytes(8, "little") + content)

    @property
    def mounted(self) -> bool:
        """Whether this machine lets us mount anything."""
        return self._process.poll() is None

    def hold(self) -> None:
        """Answer no read from now on."""
        self._say(b"h")

    def go(self) -> None:
        """Answer them all."""
        self._say(b"g")

    def close(self) -> None:
        """Answer what waits, and be gone."""
        self._process.communicate()

    def _say(self, words: bytes) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(words)
        self._process.stdin.flush()
        if self._process.stdout.read(1) != b".":
            self._process.wait()


class _Server:
    def __init__(self, point: str, content: bytes) -> None:
        self._content = content
        self._held: list[tuple[int, bytes]] = []
        self._holding = False
        self._lock = threading.Lock()
        self._device = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self._device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"slow", point.encode(), b"fuse.slow", MS_NOSUID, options.encode()):
            raise OSError(ctypes.get_errno(), "mount")

    def serve(self) -> None:
        while True:
            try:
                request = os.read(self._device, 1 << 20)
            except OSError as exc:
                if exc.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                return
            _, kind, unique, node = struct.unpack_from("<IIQQ", request)
            if kind not in (Ask.FORGET, Ask.BATCH_FORGET, Ask.INTERRUPT):
                self._answer(kind, unique, node, request[40:])

    def hold(self, holding: bool) -> None:
        with self._lock:
            self._holding = holding
            waiting, self._held = ([], self._held) if holding else (self._held, [])
            for unique, body in waiting:
                self._reply(unique, self._piece(body))

    def _answer(self, kind: int, unique: int, node: int, body: bytes) -> None:
        match kind:
            case Ask.INIT:
                ahead = struct.unpack_from("<IIII", body)[2]
                self._reply(
                    unique,
                    struct.pack("<IIIIHHIIHHI7I", 7, 31, ahead, 0, 0, 0, 131_072, 1, 32, 0, 0, *[0] * 7),
                )
            case Ask.LOOKUP:
                self._reply(unique, struct.pack("<QQQQII", 2, 0, 0, 0, 0, 0) + self._about(2))
            case Ask.GETATTR:
                self._reply(unique, struct.pack("<QII", 0, 0, 0) + self._about(node))
            case Ask.OPEN | Ask.OPENDIR:
                self._reply(unique, struct.pack("<QII", 1, DIRECT, 0))
            case Ask.READ:
                with self._lock:
                    if self._holding:
                        self._held.append((unique, body))
                    else:
                        self._reply(unique, self._piece(body))
            case Ask.STATFS:
                self._reply(unique, bytes(80))
            case Ask.RELEASE | Ask.FLUSH | Ask.READDIR | Ask.RELEASEDIR:
                self._reply(unique, b"")
            case _:
                self._reply(unique, b"", error=errno.ENOSYS)

    def _piece(self, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", body)
        return self._content[offset : offset + size]

    def _about(self, node: int) -> bytes:
        mode, size = (stat.S_IFDIR | 0o755, 0) if node == 1 else (stat.S_IFREG | 0o644, len(self._content))
        times = [1_700_000_000] * 3
        return struct.pack(
            "<QQQQQQIIIIIIIIII", node, size, 1, *times, 0, 0, 0, mode, 1, os.getuid(), os.getgid(), 0, 4096, 0
        )

    def _reply(self, unique: int, data: bytes, error: int = 0) -> None:
        os.write(self._device, struct.pack("<IiQ", 16 + len(data), -error, unique) + data)


def main(point: str) -> None:
    orders = sys.stdin.buffer
    content = orders.read(int.from_bytes(orders.read(8), "little"))
    server = _Server(point, content)
    threading.Thread(target=server.serve, daemon=True).start()
    sys.stdout.buffer.write(b".")
    sys.stdout.buffer.flush()
    while word := orders.read(1):
        server.hold(word == b"h")
        sys.stdout.buffer.write(b".")
        sys.stdout.buffer.flush()
    server.hold(False)
    ctypes.CDLL(None).umount2(point.encode(), MNT_DETACH)


if __name__ == "__main__":
    main(sys.argv[1])
