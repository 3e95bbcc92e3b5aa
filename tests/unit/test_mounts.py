"""On which disks the database may lie, by what the system says is mounted where."""

from __future__ import annotations

from pathlib import Path, PurePath

import pytest

from runner.errors import Exit, StateError
from runner.host.mounts import Mount, mount_of, synced_by_name
from runner.store.place import synced_by
from runner.store.sqlite import StateFile

LINUX = """\
22 27 0:20 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
40 27 0:39 / /mnt/c rw,noatime - 9p C:\\134 rw,dirsync,aname=drvfs;path=C:\\;uid=1000
41 27 0:40 / /home/anna/My\\040Films rw - fuse.sshfs anna@host:/films rw,user_id=1000
42 41 254:1 / /home/anna/My\\040Films/local rw - xfs /dev/vdb rw
43 27 0:41 / /data rw - ext4 /dev/vdc rw
44 27 0:42 / /data rw - virtiofs share rw
45 27 0:43 / /films rw shared:5 master:2 propagate_from:1 - overlay overlay rw,lowerdir=/a - b
46 27 0:44 / /ntfs rw - fuseblk /dev/sdb1 rw,user_id=0
47 27 254:0 /home/films /bound rw,relatime shared:1 - ext4 /dev/vda rw
a line that says nothing
"""
SERVED = """
    9p drvfs virtiofs vboxsf vmhgfs prl_fs fakeowner nfs nfs4 cifs smb3 smbfs afpfs davfs webdav ceph lustre
    fuse fuse.sshfs fuse.s3fs fuse.rclone fuse.gcsfuse fuse.glusterfs fuse.vmhgfs-fuse fuse.osxfs fuse.grpcfuse
    fuse.mergerfs fuse.whatever macfuse osxfuse
"""
TRUSTED = """
    ext4 ext3 xfs btrfs zfs tmpfs overlay aufs f2fs apfs hfs ntfs3 exfat vfat bcachefs fuseblk fuse.gocryptfs
    fuse.fuse-overlayfs a-kind-nobody-knows
"""
MACOS = """\
/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)
/dev/disk3s5 on /System/Volumes/Data (apfs, local, journaled, nobrowse, protect, root data)
//anna@nas._smb._tcp.local/Films on /Volumes/Films on NAS (smbfs, nodev, nosuid, mounted by anna)
map auto_home on /System/Volumes/Data/home (autofs, automounted, nobrowse)
bucket: on /Volumes/bucket (macfuse, nodev, nosuid, synchronous, mounted by anna)
"""


@pytest.mark.parametrize(
    ("table", "path", "kind"),
    [
        (LINUX, "/", "ext4"),
        (LINUX, "/home/anna/state/runner.db", "ext4"),
        (LINUX, "/mnt/c/Users/anna/state/runner.db", "9p"),
        (LINUX, "/mnt/cc/state/runner.db", "ext4"),
        (LINUX, "/home/anna/My Films/state/runner.db", "fuse.sshfs"),
        (LINUX, "/home/anna/My Films/local/state/runner.db", "xfs"),
        (LINUX, "/data/state/runner.db", "virtiofs"),
        (LINUX, "/films/state/runner.db", "overlay"),
        (LINUX, "/ntfs/runner.db", "fuseblk"),
        (LINUX, "/bound/runner.db", "ext4"),
        (MACOS, "/Users/anna/films/state/runner.db", "apfs"),
        (MACOS, "/Volumes/Films on NAS/state/runner.db", "smbfs"),
        (MACOS, "/Volumes/bucket/state/runner.db", "macfuse"),
        ("", "/home/anna/state/runner.db", None),
    ],
)
def test_what_a_path_is_mounted_from(table: str, path: str, kind: str | None) -> None:
    mount = mount_of(path, table)

    assert (mount.kind if mount is not None else None) == kind


@pytest.mark.parametrize(
    "kind",
    SERVED.split(),
)
def test_what_is_served_by_others_keeps_no_log(kind: str) -> None:
    assert not Mount(point="/", kind=kind).keeps_logs


@pytest.mark.parametrize(
    "kind",
    TRUSTED.split(),
)
def test_disks_of_this_machine_and_what_nobody_knows_are_trusted(kind: str) -> None:
    assert Mount(point="/", kind=kind).keeps_logs


@pytest.mark.parametrize("exists", [False, True])
def test_a_database_on_such_a_mount_is_refused_with_the_way_out(tmp_path: Path, exists: bool) -> None:
    path = tmp_path / "state" / "runner.db"
    table = f"1 0 254:0 / / rw - ext4 /dev/vda rw\n2 1 0:39 / {tmp_path} rw - virtiofs share rw\n"
    if exists:
        StateFile.open(path).close()
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(StateError, match=f"virtiofs mount \\({tmp_path}\\)") as found:
        StateFile.open(path, mounts=lambda: table)

    assert found.value.exit_code is Exit.USAGE
    assert "--state FILE" in found.value.hint
    assert ("first copy runner.db" in found.value.hint) == exists
    assert sorted(tmp_path.rglob("*")) == before
    if exists:  # what is there can still be looked at
        StateFile.open_readonly(path).close()


@pytest.mark.parametrize(
    ("folder", "program"),
    [
        ("/home/anna/Dropbox/films", "Dropbox"),
        ("/home/anna/Dropbox (Studio)/films", "Dropbox"),
        ("/mnt/c/Users/anna/OneDrive - Studio/films", "OneDrive"),
        ("/Users/anna/Library/CloudStorage/OneDrive-Personal/films", "a sync program"),
        ("/Users/anna/Library/Mobile Documents/com~apple~CloudDocs/films", "iCloud Drive"),
        ("/Users/anna/iCloud Drive/films", "iCloud Drive"),
        ("/Users/anna/Google Drive/My Drive/films", "Google Drive"),
        ("/home/anna/Nextcloud/films", "Nextcloud"),
        ("/home/anna/films", None),
        ("/home/anna/dropbox-spot", None),
        ("/home/anna/one drive to rule them all", None),
    ],
)
def test_folders_that_are_synced_by_their_name(folder: str, program: str | None) -> None:
    assert synced_by_name(PurePath(folder) / "state" / "runner.db") == program


def test_folders_that_are_synced_by_what_lies_in_them(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "state" / "runner.db"

    assert synced_by(path) is None
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".stfolder").mkdir()
    assert synced_by(path) == "Syncthing"
