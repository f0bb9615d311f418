"""Which kind of file system a work folder is on: the ledger needs one of this machine."""

import re
from collections.abc import Iterable
from pathlib import Path

import psutil

from engine.contract.errors import WorkFolderError

NETWORKS = re.compile(
    r"(fuse\.)?(afpfs|afs|beegfs|blobfuse2?|ceph|ceph-fuse|cifs|davfs2?|gcsfuse|glusterfs|goofys|"
    r"gpfs|juicefs|lustre|mountpoint-s3|nfs|nfs3|nfs4|rclone|s3fs|seaweedfs|smb2|smb3|smbfs|sshfs|"
    r"webdav|weed)"
)
"""The types of network file systems. Not "9p": some virtual machines have their own disk by it."""


def refuse_network(workdir: Path, *, allowed: bool) -> None:
    """Raises WorkFolderError where the folder, which need not be there, is on a network and that is
    not allowed."""
    if allowed:
        return
    mounts = ((one.mountpoint, one.fstype) for one in psutil.disk_partitions(all=True))
    kind = kind_of(workdir.resolve(), mounts)
    if kind is not None and NETWORKS.fullmatch(kind):
        raise WorkFolderError(
            f"{workdir} is on a network file system ({kind}), whose locks and caches may damage "
            "the ledger; give --out a folder on a disk of this machine, and share what comes out "
            "by sinks and uploads (docs/clusters.md), or allow it with "
            "--set limits.network_folder=true"
        )


def kind_of(folder: Path, mounts: Iterable[tuple[str, str]]) -> str | None:
    """The type of the file system that a folder is on; `mounts` are places and types, in the order
    of mounting. None where no place is above it."""
    found, depth = None, -1
    for place, kind in mounts:
        parts = len(Path(place).parts)
        if parts >= depth and folder.is_relative_to(place):
            found, depth = kind.lower(), parts
    return found
