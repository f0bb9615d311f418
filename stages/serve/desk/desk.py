"""The service's state that its addresses share: the jobs, who may ask, and what jobs may name."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine import Item, UsageError, shown
from stages.net.addresses import (
    canonical_url,
    has_possible_host,
    host_of,
    is_private,
    literal_address,
)
from stages.serve.desk.problems import HttpRefusal, busy
from stages.serve.desk.signing import LinkSigner
from stages.serve.desk.tokens import Tokens
from stages.serve.desk.uploads import Uploads
from stages.serve.queue.feeds import JobFeed
from stages.serve.queue.jobs_table import JobRow, JobsTable
from stages.serve.queue.source import END, PART, PROGRESS, STEP, ServedJobs
from stages.serve.queue.steady import steady_time
from stages.service.job_data import PATH, URL
from stages.service.profiles import AskedJob, ServedProfiles

UPLOAD, NAME = "upload", "name"
"""The names of a job's upload in its data, and of the video's own name."""


@dataclass(slots=True, eq=False)
class Desk:
    """To be used on the service's event loop. `most_jobs` may be under way at once; those that the
    run has not begun with count too."""

    jobs: ServedJobs
    profiles: ServedProfiles
    workdir: Path
    tokens: Tokens
    uploads: Uploads
    signer: LinkSigner
    roots: Sequence[Path]
    most_jobs: int
    allow_private: bool
    remembered: float
    """Seconds after its end in which a job, and its idempotency key, are known."""
    _feeds: dict[str, JobFeed] = field(default_factory=dict)

    @property
    def table(self) -> JobsTable:
        """Raises HttpRefusal where the run does not hold the work folder yet."""
        if self.jobs.table is None:
            raise busy("the service is starting; ask again in a moment", 2)
        return self.jobs.table

    def check_open(self) -> None:
        """Raises HttpRefusal where the service takes no new jobs."""
        if self.jobs.stopping is not None:
            raise busy("the service is stopping; post it again when it is back", 30)

    def read(self, data: Mapping[str, Any], owner: str) -> AskedJob:
        """What a caller's job asks for. Blocks. Raises UsageError, and HttpRefusal for an upload
        that is not there, or not whole."""
        if URL in data:
            self._check_public(data[URL])
        given, roots = dict(data), self.roots
        if not {URL, PATH, UPLOAD} & data.keys():
            raise UsageError(f"a job has one of {URL!r}, {PATH!r} and {UPLOAD!r}")
        if (upload := given.pop(UPLOAD, None)) is not None:
            if URL in data or PATH in data:
                raise UsageError(f"a job has one of {URL!r}, {PATH!r} and {UPLOAD!r}")
            path = self.uploads.path(found := self.uploads.find(owner, upload))
            if path is None:
                has = self.uploads.offset(found)
                raise HttpRefusal(409, f"the upload is not whole: it has {has} of {found.length}")
            given[PATH], roots = str(path), [self.uploads.folder]
        priority, within = given.pop("priority", 0), given.pop("within", None)
        asked = self.profiles.read(given, roots)
        deadline = steady_time() + within if within is not None else None
        return replace(asked, job=replace(asked.job, priority=priority, deadline=deadline))

    def _check_public(self, url: str) -> None:
        """Raises UsageError for an address that says itself that it is none of the internet: the
        others are judged when they are fetched."""
        host = host_of(canonical_url(url)) or ""
        address = literal_address(host)
        if address is not None and is_private(address) and not self.allow_private:
            raise UsageError(f"{URL!r}: {host} is no public address, and others are not fetched")

    def needs(self, upload: str) -> bool:
        """Whether a job under way has this upload. Blocks."""
        return upload in self.table.uploads_in_use()

    def folder(self, row: JobRow) -> Path:
        """The folder of the job's item, which has one."""
        return Item.at(self.workdir, row.source, row.item).folder

    def prepare(self) -> None:
        """The run holds the work folder: take the key of its links. Blocks. Raises UsageError."""
        self.signer.use(self.workdir)

    def sweep(self) -> None:
        """Remove uploads that nobody wants, and forget jobs that ended long ago. Blocks. Raises
        HttpRefusal before the start."""
        self.uploads.sweep(self.table.uploads_in_use())
        self.table.forget(time.time() - self.remembered)

    # Progress

    def feed(self, id_: str) -> JobFeed | None:
        """The news of a job that is under way, where there are some."""
        return self._feeds.get(id_)

    def opened_feed(self, id_: str) -> JobFeed:
        """The news of a job for somebody who waits for them."""
        return self._feeds.setdefault(id_, JobFeed())

    def forget_feed(self, id_: str) -> None:
        self._feeds.pop(id_, None)

    def hear(self, id_: str, kind: str, told: Mapping[str, Any]) -> None:
        """News of a job."""
        if kind == END:
            if (feed := self._feeds.pop(id_, None)) is not None:
                feed.end()
            return
        feed = self.opened_feed(id_)
        if kind == STEP:
            feed.step = told["step"]
        if kind == PROGRESS:
            feed.path = told
            told = {"step": feed.step, "parts": feed.parts, **told}
        feed.parts += kind == PART
        feed.tell(kind, told)


def webhook_address(url: str) -> str:
    """A webhook's address in its canonical form. Raises UsageError."""
    if not url.lower().startswith(("http://", "https://")):
        raise UsageError("'webhook' begins with http:// or https://")
    canonical = canonical_url(url)
    if not has_possible_host(canonical) or not canonical.isprintable():
        raise UsageError(f"'webhook': {shown(canonical)} is no address that can be called")
    return canonical
