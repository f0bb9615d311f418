"""One `penstock bench`: the trials in order, the messages meanwhile, and the files."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING

import click

from engine.bench.configuration import Configuration, grid
from engine.bench.page import write_page
from engine.bench.prediction import fixed_workers, predict, worth_checking
from engine.bench.render import render
from engine.bench.results import Results
from engine.bench.sweep import Rung, rungs, sweep
from engine.bench.trial import Setup, Trial, cold_folder, run_trial
from engine.config.load import Config, settings_as_dict
from engine.contract.errors import PenstockError
from engine.contract.pipeline import Pipeline
from engine.telemetry.text import duration, pace

if TYPE_CHECKING:
    from engine.bench.model.places import Nodes
    from engine.bench.model.recorded import Recording

SHORT = 20.0
"""Seconds: in a shorter trial, loading models and filling queues weighs much."""

WIDEST = 120
"""The most columns of the tables, and their width without a terminal."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command. `simulated_items` is the number of items for the model where it
    is not compared with runs, None for all."""

    setup: Setup
    tries: Mapping[str, tuple[int, ...]]
    repeats: int
    sources: Sequence[str]
    simulated_items: int | None
    simulate: bool
    ledger: Path | None
    check: int
    cores: int | None
    machines: int
    nodes: "Nodes | None"
    quiet: bool
    command: str


class Session:
    """Runs the trials in `out`, and writes bench.html, bench.json and bench.csv there."""

    def __init__(self, pipeline: Pipeline, config: Config, options: Options, out: Path) -> None:
        self._pipeline = pipeline
        self._config = config
        self._options = options
        self._out = out
        self._grid = grid(options.tries)
        self._plan: Sequence[Rung] = ()
        self._measured: list[Trial] = []
        self._predicted: list[Trial] = []
        self._progress = _Progress(options.quiet)

    def run(self) -> int:
        """Run the trials; returns the exit code. Raises PenstockError where a trial cannot run,
        after writing the measurements until then."""
        interrupted = False
        try:
            if self._options.simulate:
                self._simulate()
            else:
                self._measure_grid()
        except KeyboardInterrupt:
            interrupted = True
        except PenstockError:
            self._deliver(interrupted=True)
            raise
        self._deliver(interrupted=interrupted)
        if interrupted:
            return 130
        return 1 if any(trial.problem is not None for trial in self._measured) else 0

    # Trying

    def _measure_grid(self) -> None:
        # With fewer items a pool's last worker would hardly get one.
        fewest = 2 * max(max(numbers) for numbers in self._options.tries.values())
        self._warm_up()
        self._measure(self._grid, rungs(len(self._grid), len(self._options.sources), fewest))

    def _measure(self, configurations: Sequence[Configuration], plan: Sequence[Rung]) -> None:
        self._plan = plan
        self._progress.announce(plan, self._options.repeats)
        for trial in sweep(configurations, plan, self._options.repeats, self._try):
            self._measured.append(trial)
            self._progress.ended(trial)

    def _try(self, configuration: Configuration, items: int) -> Trial:
        sources = spread(self._options.sources, items)
        with cold_folder(self._out) as workdir:
            return run_trial(self._options.setup, configuration, sources, workdir)

    def _warm_up(self) -> None:
        """One run of one item that is not counted: it fills the file cache, and finds settings that
        no run can start with before the sweep."""
        self._progress.say("Warming up with one item.")
        trial = self._try(self._grid[0], 1)
        if trial.problem is not None:
            raise PenstockError(f"the first item could not be run: {trial.problem}")

    # Simulating

    def _simulate(self) -> None:
        options = self._options
        fixed = fixed_workers(self._config, options.tries)
        recording = self._recording()
        items = len(options.sources) if options.check else options.simulated_items
        items = items or len(recording.items)
        count = len(self._grid)
        self._progress.say(f"Simulating {count} configurations with {items} items.")
        for configuration in self._grid:
            for seed in range(options.repeats):
                found = predict(
                    recording,
                    configuration,
                    fixed,
                    items,
                    cores=options.cores,
                    machines=options.machines,
                    nodes=options.nodes,
                    seed=seed,
                )
                self._predicted.append(found)
        chosen = worth_checking(self._grid, self._predicted, options.check)
        if chosen:
            self._measure(chosen, [Rung(len(chosen), items)])

    def _recording(self) -> "Recording":
        """Service times from the given ledger, else from a run made for this."""
        from engine.bench.model.reading import read_recording

        if self._options.ledger is not None:
            recording = read_recording(self._options.ledger, self._pipeline)
            if self._options.check:
                self._warm_up()
            return recording
        self._warm_up()
        configuration, sources = self._grid[0], self._options.sources
        self._progress.say(f"Recording service times: {configuration}, {len(sources)} items.")
        with cold_folder(self._out) as workdir:
            trial = run_trial(self._options.setup, configuration, sources, workdir)
            if trial.problem is not None:
                raise PenstockError(f"no service times could be recorded: {trial.problem}")
            return read_recording(workdir, self._pipeline)

    # Delivering

    def _deliver(self, *, interrupted: bool) -> None:
        """Write the files and show the tables, if there are results."""
        if not self._measured and not self._predicted:
            return
        results = self._results(interrupted)
        names = ("bench.html", "bench.json", "bench.csv")
        page, found, rows = (self._out / name for name in names)
        write_page(results, page)
        results.write_json(found)
        results.write_csv(rows)
        width = min(get_terminal_size((WIDEST, 24)).columns, WIDEST)
        click.echo(render(results, width=width, color=sys.stdout.isatty()), nl=False)
        short = [trial for trial in self._measured if trial.seconds < SHORT and not trial.problem]
        if len(short) > len(self._measured) / 2:
            click.echo(
                f"Most trials took less than {duration(SHORT)}: loading models and filling queues "
                "count for much in them; more items would tell more."
            )
        click.echo(f"Written: {', '.join(map(str, (page, found, rows)))}")

    def _results(self, interrupted: bool) -> Results:
        options, pipeline = self._options, self._pipeline
        most = {
            name: pipeline[name].stage.most_workers(self._config.stages[name].options.placement)
            for name in pipeline.names
        }
        tried = [*self._measured, *self._predicted]
        return Results(
            pipeline=pipeline.name,
            command=options.command,
            tries=options.tries,
            stages=pipeline.names,
            most={name: count for name, count in most.items() if count is not None},
            items=max(trial.items for trial in tried),
            repeats=options.repeats,
            plan=self._plan,
            measured=self._measured,
            predicted=self._predicted,
            settings=settings_as_dict(self._config),
            interrupted=interrupted,
        )


def spread(sources: Sequence[str], count: int) -> list[str]:
    """`count` of the sources, taken evenly from the whole list, in its order."""
    return [sources[place * len(sources) // count] for place in range(count)]


class _Progress:
    """One line on stderr for each trial, with the estimated time of the rest."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._trials = self._trials_ended = 0
        self._items = self._items_ended = 0
        self._began = 0.0

    def say(self, line: str) -> None:
        if not self._quiet:
            click.echo(line, err=True)

    def announce(self, plan: Sequence[Rung], repeats: int) -> None:
        self._trials = sum(rung.configurations * repeats for rung in plan)
        self._items = sum(rung.configurations * repeats * rung.items for rung in plan)
        self._began = time.monotonic()
        stages = ", then ".join(
            f"{rung.configurations} configurations on {rung.items} items" for rung in plan
        )
        runs = "once" if repeats == 1 else f"{repeats} times"
        self.say(f"Trying {stages}, each {runs}: {self._items} items in all.")

    def ended(self, trial: Trial) -> None:
        self._trials_ended += 1
        self._items_ended += trial.items
        spent = time.monotonic() - self._began
        left = spent / self._items_ended * (self._items - self._items_ended)
        rest = f"; about {duration(left)} left" if left > 0 else ""
        came = trial.problem or f"{pace(trial.throughput)}, {trial.bottleneck} is busiest"
        self.say(
            f"{self._trials_ended} of {self._trials}: {trial.configuration}, "
            f"{trial.items} items: {came}{rest}"
        )
