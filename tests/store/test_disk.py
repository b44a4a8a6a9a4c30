"""What is said of a disk, by what the kernel tells of its mounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from dolgo.store import disk
from dolgo.store.findings import Level

MOUNTS = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
40 27 0:40 / /srv/nfs rw,relatime shared:2 master:1 - nfs4 server:/export rw,vers=4.2,hard
41 27 0:41 / /srv/nfs/local rw - xfs /dev/vdb rw
42 27 0:42 / /srv/with\040space rw - cifs //server/share rw
43 27 0:43 / /srv/same rw - nfs server:/a rw
44 43 0:44 / /srv/same rw - tmpfs tmpfs rw
45 27 0:45 / /srv/lazy rw - overlay overlay rw,lowerdir=/a,volatile
46 27 0:46 / /srv/fast rw - ext4 /dev/vdc rw,nobarrier
47 27 0:47 / /srv/shut ro,relatime - ext4 /dev/vdd rw
48 27 0:48 / /srv/layer rw - overlay overlay rw,lowerdir=/a
49 27 0:49 / /srv/ssh rw - fuse.sshfs me@there: rw
50 27 0:50 / /srv/strange rw - newfs /dev/vde rw
a line that is cut
"""


@pytest.mark.parametrize(
    ("folder", "level", "said"),
    [
        ("/var/lib/dolgo", Level.OK, "ext4 at /"),
        ("/srv/nfs", Level.BAD, "cannot be trusted"),
        ("/srv/nfs/a/b", Level.BAD, "nfs4 at /srv/nfs"),
        ("/srv/nfs/local/a", Level.OK, "xfs"),
        ("/srv/nfs-not", Level.OK, "ext4 at /"),
        ("/srv/with space", Level.BAD, "cifs"),
        ("/srv/same", Level.WARN, "tmpfs"),
        ("/srv/lazy", Level.BAD, "volatile"),
        ("/srv/fast", Level.BAD, "nobarrier"),
        ("/srv/shut", Level.BAD, "read-only"),
        ("/srv/layer", Level.WARN, "container"),
        ("/srv/ssh", Level.BAD, "fuse.sshfs"),
        ("/srv/strange", Level.WARN, "newfs"),
    ],
)
def test_a_folder_is_on_the_mount_nearest_above_it_and_judged_by_its_kind(folder: str, level: Level, said: str) -> None:
    verdict = disk.file_system(disk.mount_of(folder, disk.parse_mounts(MOUNTS)))
    assert verdict is not None
    assert verdict.level is level
    assert said in verdict.found
    assert bool(verdict.advice) is (level is not Level.OK)


def test_a_link_is_followed_to_the_mount_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/srv/nfs")
    found = disk.mount_of(str(tmp_path / "link"), disk.parse_mounts(MOUNTS))
    assert found is not None
    assert found.kind == "nfs4"


def test_nothing_is_said_where_the_kernel_tells_nothing() -> None:
    assert disk.file_system(disk.mount_of("/srv", [])) is None


def test_this_machine_has_a_mount_for_every_folder(tmp_path: Path) -> None:
    found = disk.mount_of(str(tmp_path), disk.read_mounts())
    assert found is not None
    assert str(tmp_path).startswith(found.point)


class Stat:
    """An answer of statvfs."""

    f_frsize = 4096

    def __init__(self, free: int, size: int, inodes: tuple[int, int] = (0, 0)) -> None:
        self.f_bavail, self.f_blocks = free // 4096, size // 4096
        self.f_favail, self.f_files = inodes


GIB = 1 << 30


@pytest.mark.parametrize(
    ("stat", "level"),
    [
        (Stat(50 * GIB, 100 * GIB), Level.OK),
        (Stat(4 * GIB, 100 * GIB), Level.WARN),
        (Stat(GIB // 2, 2 * GIB), Level.WARN),
        (Stat(GIB // 20, 100 * GIB), Level.BAD),
        (Stat(50 * GIB, 100 * GIB, (500_000, 1_000_000)), Level.OK),
        (Stat(50 * GIB, 100 * GIB, (1_000, 1_000_000)), Level.WARN),
        (Stat(50 * GIB, 100 * GIB, (7, 1_000_000)), Level.BAD),
    ],
)
def test_little_room_and_few_inodes_are_said(monkeypatch: pytest.MonkeyPatch, stat: Stat, level: Level) -> None:
    monkeypatch.setattr("os.statvfs", lambda folder: stat)
    assert disk.room("/anywhere").level is level


def test_a_flush_that_takes_long_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "a flush takes" in disk.flush(str(tmp_path)).found
    times = iter(range(100))  # seconds: each look at the clock is one later
    monkeypatch.setattr("time.perf_counter", lambda: float(next(times)))
    slow = disk.flush(str(tmp_path))
    assert (slow.level, slow.found) == (Level.WARN, "a flush takes 1000.00 ms")
    assert not list(tmp_path.iterdir())
