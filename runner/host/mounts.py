"""On what kind of disk a path lies, and who else may write there: read from what the system says, no look at the disk.

A write-ahead log wants memory that all who have the file open share, and locks that hold. A file system that
is served by another machine, or by a program, often says that it has both. SQLite then accepts its log there
and damages the file later, when two have it open.

Source:
    "Write-Ahead Logging", https://www.sqlite.org/wal.html: all processes using a database must be on the same
    host, WAL does not work over a network filesystem. `man 5 proc` for the lines of mountinfo.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

# Served by another machine, or by the host of a virtual machine or container.
_SERVED = frozenset(
    {"9p", "acfs", "afpfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "drvfs", "fakeowner", "glusterfs", "gpfs",
     "lustre", "ncpfs", "nfs", "nfs4", "orangefs", "prl_fs", "pvfs2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs",
     "webdav"}
)  # fmt: skip
# Programs that keep their files on a disk of this machine, and leave memory and locks to its kernel.
_LOCAL_FUSE = frozenset(
    {"fuse.bindfs", "fuse.cryfs", "fuse.encfs", "fuse.exfat", "fuse.fuse-overlayfs", "fuse.gocryptfs", "fuse.ntfs",
     "fuse.ntfs-3g", "fuse.securefs"}
)  # fmt: skip
_ON_MACOS = re.compile(r"^.*? on (?P<point>/.*) \((?P<kind>[^,)]+)")
_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """Where a file system begins, and of what kind it is: `ext4`, `fuse.sshfs`."""

    point: str
    kind: str

    @property
    def keeps_logs(self) -> bool:
        """Whether a write-ahead log is kept well there, as far as the kind tells; unknown kinds are trusted.

        `fuseblk` is a disk of this machine (NTFS, exFAT) behind a program of its own.

        >>> [Mount(point="/", kind=kind).keeps_logs for kind in ("ext4", "virtiofs", "fuse.sshfs", "fuseblk")]
        [True, False, False, True]
        """
        if self.kind.startswith("fuse.") or self.kind in ("fuse", "macfuse", "osxfuse"):
            return self.kind in _LOCAL_FUSE
        return self.kind not in _SERVED


def mount_of(path: str, table: str) -> Mount | None:
    """Return what a path is mounted from; None where nothing tells.

    Args:
        path: Absolute, without symlinks.
        table: The text of `/proc/self/mountinfo`, or what `mount` prints on macOS.
    """
    found = None
    for mount in mounts_in(table):
        # What is mounted later at the same place covers what was there.
        if _is_below(path, mount.point) and (found is None or len(mount.point) >= len(found.point)):
            found = mount
    return found


def mounts_in(table: str) -> Iterator[Mount]:
    """Yield all that is mounted, as the table has it."""
    for line in table.splitlines():
        before, dash, after = line.partition(" - ")
        fields = before.split(" ")
        if dash and len(fields) >= 6:
            yield Mount(point=_ESCAPE.sub(_character, fields[4]), kind=after.split(" ")[0])
        elif told := _ON_MACOS.match(line):
            yield Mount(point=told["point"], kind=told["kind"].strip())


def _character(found: re.Match[str]) -> str:
    return chr(int(found[1], 8))


def _is_below(path: str, point: str) -> bool:
    return point == "/" or path == point or path.startswith(point.rstrip("/") + "/")


_SYNCED_NAMES = (
    (re.compile(r"dropbox( \(.+\))?", re.IGNORECASE), "Dropbox"),
    (re.compile(r"onedrive( - .+|-.+)?", re.IGNORECASE), "OneDrive"),
    (re.compile(r"icloud ?drive|mobile documents|com~apple~clouddocs", re.IGNORECASE), "iCloud Drive"),
    (re.compile(r"google ?drive( \(.+\))?|googledrive-.+|my drive", re.IGNORECASE), "Google Drive"),
    (re.compile(r"nextcloud|owncloud", re.IGNORECASE), "Nextcloud"),
    (re.compile(r"cloudstorage|pcloud ?drive|megasync|synologydrive|seafile|syncthing|resilio ?sync", re.IGNORECASE),
     "a sync program"),
)  # fmt: skip
SYNC_MARKERS = {
    ".dropbox": "Dropbox",
    ".stfolder": "Syncthing",
    ".owncloudsync.log": "Nextcloud",
    ".nextcloudsync.log": "Nextcloud",
    ".SynologyWorkingDirectory": "Synology Drive",
    ".tmp.drivedownload": "Google Drive",
}
"""Files and folders that sync programs keep in the folders they care for."""


def synced_by_name(path: PurePath) -> str | None:
    """Return the program that a folder above is usually kept in step with other machines by, by its name alone.

    >>> synced_by_name(PurePath("/home/anna/Dropbox (Studio)/films/state/runner.db"))
    'Dropbox'
    >>> synced_by_name(PurePath("/home/anna/films/dropbox-spot/state/runner.db")) is None
    True
    """
    for part in path.parent.parts:
        for name, program in _SYNCED_NAMES:
            if name.fullmatch(part):
                return program
    return None
