"""The plan of others for a film of an hour and 75 scenes, replayed: from 788 s down to 85 s.

    python -m benchmarks.scenes_plan                 # time runs four times faster
    python -m benchmarks.scenes_plan --faster 1      # in real time: 18 minutes in all

Their table has scenes in 1.5 s; speech in 688 s, one call a scene, or 60 s in chunks; sounds in
90 s, window by window, or 15 s in batches; objects in 9 s, frame by frame, or 5 s in batches. Here
a transcription server takes 8.5 s a call and 0.057 s for each second of sound, and a tagger, a
detector and a captioner take as long as makes the table's figures. They stand in for real ones at
the doors of `penstock scenes`, which is otherwise itself: engine, steps, files, ledger, and the
network that finds speech. Captions are not in the table: they count against Penstock alone. One
after the other, each tenth call is made, and counts ten times: they are all alike.

Time is scaled by one factor: the film is as much shorter, and so are all latencies, scenes, chunks,
windows and the minutes of a rate. All figures are in seconds of the plan. What Penstock itself
takes is not scaled: the shorter the film, the more it weighs.
"""

import tempfile
from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.harness import Figures, finish, parse, parser
from benchmarks.results import Measurement, Row, Table, Target
from benchmarks.scenes_material import film
from benchmarks.scenes_path import Chain, RunLog, by_step, critical_path
from benchmarks.scenes_replay import (
    CARRIED_OUT,
    CLIP,
    DESCRIBING,
    HOUR,
    PLAN_FIGURES,
    SCENES,
    SLOW_RATE,
    SPEECH,
    PlanClock,
    Replay,
)
from benchmarks.scenes_timeline import draw_timeline
from benchmarks.servers import Behaviour, answering
from benchmarks.speech_service import transcribing
from engine.bench.intervals import interval
from stages.scenes.pipeline import scenes

OWN, SHORTER, AT_A_RATE = "Penstock", "Penstock, 12 chunks of 5 min", "Penstock, 3 calls a minute"
IN_TURN = "one after the other"


def figures_of(log: RunLog, path: Chain, clock: PlanClock) -> Figures:
    """What a run of ours came to, in seconds of the plan."""
    return {
        "total s": clock.planned(log.seconds),
        "speech s": clock.planned(log.at_work("transcribe")),
        "sounds s": clock.planned(log.at_work("sounds")),
        "objects s": clock.planned(log.called["objects"]),
        "objects with decoding s": clock.planned(log.at_work("objects")),
        "critical path s": clock.planned(path.seconds),
    }


def allowed(chunks: Sequence[float]) -> float:
    """Seconds that calls with so many seconds of sound take at least, at SLOW_RATE."""
    ends = [
        number * 60 / SLOW_RATE + SPEECH.call + SPEECH.second * seconds
        for number, seconds in enumerate(sorted(chunks, reverse=True))
    ]
    return max(ends)


@dataclass(frozen=True)
class Round:
    """One of each, and how the speech server was asked for `own`, `shorter` and `slow`."""

    in_turn: Figures
    own: RunLog
    shorter: RunLog
    slow: RunLog
    chunks: Sequence[float]
    turned_away: int
    streamed: RunLog
    afterwards: RunLog


def replayed(replay: Replay, number: int) -> Round:
    clock, name = replay.clock, f"{number}"
    in_turn = replay.in_turn()
    own = replay.ours(f"{name}-own")
    chunks = [clock.planned(one) for one in replay.speech.tally().seconds]
    afterwards = replay.ours(f"{name}-own", *replay.described())
    shorter = replay.ours(
        f"{name}-shorter",
        f"stages.chunks.chunk_seconds={clock.real(300.0)}",
        "stages.transcribe.workers=12",
        "stages.transcribe.concurrency=12",
    )
    slow = replay.ours(
        f"{name}-slow",
        f"stages.transcribe.requests_per_minute={clock.faster * SLOW_RATE}",
        pace=replace(SPEECH, requests_per_minute=SLOW_RATE),
    )
    turned_away = replay.speech.tally().turned_away
    streamed = replay.ours(f"{name}-streamed", *replay.described())
    return Round(in_turn, own, shorter, slow, chunks, turned_away, streamed, afterwards)


def measured(rounds: Sequence[Round], clock: PlanClock) -> tuple[list[Table], list[Target]]:
    paths = [critical_path(scenes, one.own) for one in rounds]
    ours = [figures_of(one.own, path, clock) for one, path in zip(rounds, paths, strict=True)]
    rows = [
        _row("the plan's table", [PLAN_FIGURES]),
        _row(IN_TURN, [one.in_turn for one in rounds]),
        _row("the plan, carried out", [CARRIED_OUT]),
        _row(OWN, ours),
        _row(SHORTER, [_of(one.shorter, clock) for one in rounds]),
        _row(AT_A_RATE, [_of(one.slow, clock) for one in rounds]),
    ]
    tables = [
        Table("seconds of the plan", rows),
        Table(
            f"the chain that bounds {OWN}",
            [
                _row(step, [{"seconds": clock.planned(by_step(path)[step])} for path in paths])
                for step in by_step(paths[0])
            ],
        ),
        Table("descriptions at 15 a minute", _described(rounds, clock)),
    ]
    return tables, _targets(rounds, ours, [clock.planned(one.shorter.seconds) for one in rounds])


def _described(rounds: Sequence[Round], clock: PlanClock) -> list[Row]:
    """Seconds in all where scenes are described as they complete, and where that begins when all
    else has ended; what the rate alone takes."""
    rate = DESCRIBING.requests_per_minute
    alone = (SCENES - 1) * 60 / rate + DESCRIBING.latency
    after = [clock.planned(one.own.seconds + one.afterwards.seconds) for one in rounds]
    streamed = [clock.planned(one.streamed.seconds) for one in rounds]
    saved = [one - other for one, other in zip(after, streamed, strict=True)]
    return [
        _row("as scenes complete", [{"seconds": one} for one in streamed]),
        _row("after all branches have ended", [{"seconds": one} for one in after]),
        _row("what streaming saves", [{"seconds": one} for one in saved]),
        _row("the rate alone", [{"seconds": alone}]),
    ]


def _targets(
    rounds: Sequence[Round], ours: Sequence[Figures], shorter: Sequence[float]
) -> list[Target]:
    def times(figure: str, of_own: str | None = None) -> list[float]:
        pairs = zip(rounds, ours, strict=True)
        return [one.in_turn[figure] / own[of_own or figure] for one, own in pairs]

    in_shorter = [one.in_turn["total s"] / own for one, own in zip(rounds, shorter, strict=True)]
    decoded = times("objects s", "objects with decoding s")
    over = [own["total s"] / own["critical path s"] for own in ours]
    return [
        Target("speech, times faster", interval(times("speech s")), 11, at_least=True),
        Target("sounds, times faster", interval(times("sounds s")), 6, at_least=True),
        Target("objects, the calls, times faster", interval(times("objects s")), 1.8, True),
        Target("objects, with decoding, times faster", interval(decoded), 1.8, at_least=True),
        Target("in all, times faster (the plan: 9.2)", interval(times("total s")), 12, True),
        Target("in all, in chunks of 5 min, times faster", interval(in_shorter), 12, True),
        Target("wall over the critical path", interval(over), 1.05),
    ]


def _row(name: str, figures: Sequence[Figures]) -> Row:
    return Row(name, {key: interval([one[key] for one in figures]) for key in figures[0]})


def _of(log: RunLog, clock: PlanClock) -> Figures:
    return figures_of(log, critical_path(scenes, log), clock)


def main() -> None:
    command = parser(__doc__, rounds=1)
    command.add_argument(
        "--faster", type=float, help="how many times faster time runs than in the plan (4)"
    )
    command.add_argument("--look", action="store_true", help="one run of ours, and its path")
    arguments = parse(command)
    arguments.rounds = 1 if arguments.quick else arguments.rounds
    clock = PlanClock(arguments.faster or (40.0 if arguments.quick else 4.0))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        video = film(clock.real(HOUR), SCENES, rate=round(2 * clock.faster))
        speech = stack.enter_context(transcribing(clock.pace(SPEECH)))
        describing = stack.enter_context(answering(Behaviour()))
        replay = Replay(clock, video, speech, describing, folder)
        if arguments.look:
            _look(replay)
            return
        rounds = [replayed(replay, number) for number in range(arguments.rounds)]
    _finish(arguments, clock, rounds)


def _look(replay: Replay) -> None:
    """One run of ours, for whoever works on it."""
    log, clock = replay.ours("look"), replay.clock
    path = critical_path(scenes, log)
    for name, value in figures_of(log, path, clock).items():
        print(f"{name:<18} {value:8.2f}")
    print(f"the process: {log.process_seconds:.2f} real s; at work, real s:")
    for step in scenes.names:
        own = [one for one in log.attempts if one.step == step]
        if own:
            first, last = min(one.start for one in own), max(one.end for one in own)
            print(f"  {step:<18} {log.at_work(step):8.2f}, from {first:.2f} to {last:.2f}")
    print("the chain that bounds it, seconds of the plan:")
    for step, seconds in by_step(path).items():
        print(f"  {step:<18} {clock.planned(seconds):8.2f}")


def _finish(arguments: Namespace, clock: PlanClock, rounds: Sequence[Round]) -> None:
    tables, targets = measured(rounds, clock)
    last = rounds[-1]
    least = allowed(last.chunks)
    longest = SPEECH.call + SPEECH.second * max(last.chunks)
    wanted = last.in_turn["total s"] / 12
    notes = [
        f"Time ran {clock.faster:g} times faster than in the plan: {clock.real(HOUR):g} s of film, "
        "every latency, window, chunk and rate alike; the figures are multiplied again.",
        f"The film is spoken through: {len(last.chunks)} chunks of "
        f"{min(last.chunks):.0f} to {max(last.chunks):.0f} s. Scene by scene, all of it would take "
        f"{SCENES * (SPEECH.call + SPEECH.second * 48):.0f} s; the plan's 688 s, which count here, "
        f"are {SCENES} calls with {CLIP:g} s each.",
        f"In chunks of 15 min the longest call takes {longest:.1f} s; a twelfth of all calls one "
        f"after the other is {wanted:.1f} s. That leaves {wanted - longest:.1f} s for all that "
        "comes before it and after it, whose seconds the chain has.",
        "The objects' seconds are those of the detector's calls, as one after the other. With "
        "decoding they are those in which any scene was in hand: scenes are decoded and tracked as "
        "they are found, so that is about as long as finding them takes.",
        f"With 3 requests a minute, evenly spaced, the last of {len(last.chunks)} calls begins "
        f"after {60 / SLOW_RATE * (len(last.chunks) - 1):.0f} s: {least:.1f} s is the least that "
        f"the rate allows for speech; {last.turned_away} calls were turned away.",
        "The tagger, the detector and the captioner are stand-ins that sleep; loading models is "
        "in no figure. What finds speech, cuts scenes, decodes, tracks and writes is real.",
    ]
    if arguments.save is not None:
        name = arguments.save_as or "scenes_plan"
        notes += ["", f"![What was at work when]({name}_timeline.png)"]
    result = Measurement(
        "scenes_plan",
        "An hour of film, 75 scenes: a plan of others, replayed",
        tables,
        targets,
        arguments.rounds,
        quick=arguments.quick,
        notes=notes,
    )
    finish(result, arguments)
    if arguments.save is not None:
        path = critical_path(scenes, last.own)
        seconds = {key.removesuffix(" s"): last.in_turn[key] for key in last.in_turn}
        del seconds["total"]
        file = arguments.save / f"{name}_timeline.png"
        draw_timeline(seconds, last.own, scenes.names, path, clock.faster, file)


if __name__ == "__main__":
    main()
