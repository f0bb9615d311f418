"""The profiles that one resident run serves, and what becomes of a job's data under them.

A run has one pipeline, whose models are loaded once. So several profiles share it where they differ
in nothing but settings that an item may have of its own: these become its options. Profiles that
differ in more take a run each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from engine import Config, Job, JobProfile, Pipeline, UsageError, id_with_options, load_profile
from stages.service.job_data import deadline_of, options_of, profile_of, source_of


@dataclass(frozen=True)
class AskedJob:
    """A job's data, understood: the profile that it names, and the job of the run."""

    profile: str
    job: Job


@dataclass(frozen=True)
class ServedProfiles:
    """`served` are the profiles by name, each with what it has in place of the first one's
    settings. The first one is that of jobs that name none. All have `pipeline`, without the steps
    that are off, and the run has `config`, the first one's."""

    served: Mapping[str, tuple[JobProfile, Mapping[str, Any]]]

    @property
    def first(self) -> JobProfile:
        return next(iter(self.served.values()))[0]

    @property
    def pipeline(self) -> Pipeline:
        return self.first.pipeline.without(self.config.off)

    @property
    def config(self) -> Config:
        return self.first.config

    def read(self, data: object, roots: Sequence[Path]) -> AskedJob:
        """What a job's data ask for. `roots` are the folders below which it may name files. Raises
        UsageError, in one line, for a job that cannot be done. May block: it looks at files.

        A source with options is an item apart from the same one without, or with others.
        """
        profile, own = self._named(profile_of(data))
        source = self.pipeline.canonical(source_of(data, roots))
        options = {**own, **profile.options(options_of(data))}
        options = {name: one for name, one in options.items() if one != self._plain(name)}
        self._check(source)
        id_ = id_with_options(source, options) if options else None
        return AskedJob(profile.name, Job(source, id_, options, deadline=deadline_of(data)))

    def _named(self, name: str | None) -> tuple[JobProfile, Mapping[str, Any]]:
        name = name if name is not None else self.first.name
        if name not in self.served:
            raise UsageError(f"no profile {name!r} here; there are: {', '.join(self.served)}")
        return self.served[name]

    def _plain(self, option: str) -> Any:
        step, _, key = option.partition(".")
        return self.config.stages[step].settings.model_dump(mode="json")[key]

    def _check(self, source: str) -> None:
        if self.pipeline.precheck is None:
            return
        settings: dict[str, BaseModel] = {
            name: stage.settings for name, stage in self.config.stages.items()
        }
        try:
            self.pipeline.precheck(source, settings)
        except UsageError as error:
            raise UsageError("; ".join(str(error).splitlines())) from None


def load_profiles(
    names: Sequence[str],
    file: Path | None,
    environment: Mapping[str, str],
    overrides: Sequence[str],
    *,
    found: bool = False,
) -> ServedProfiles:
    """The profiles of these names, for one run; the rest as `engine.load_profile` has it. Raises
    UsageError where they cannot share one."""
    loaded = {name: load_profile(name, file, environment, overrides, found=found) for name in names}
    first = next(iter(loaded.values()))
    return ServedProfiles({name: (one, one.as_options(first)) for name, one in loaded.items()})
