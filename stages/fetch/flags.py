"""The flags of every command that fetches videos."""

from engine import Flag

FETCHING = (
    Flag(
        "--allow-private",
        "Fetch also from this machine and private networks.",
        {"stages.download.allow_private": True},
    ),
    Flag(
        "--no-local",
        "Take no files of this machine: for lists from elsewhere.",
        {"stages.download.local_files": False},
    ),
)
