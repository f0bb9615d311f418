"""How fast is extraction? One frame a second, 640 pixels, as JPEG: against ffmpeg, PyAV and others.

    python -m benchmarks.extract_speed                    # H.264 in two sizes, VP9, AV1
    python -m benchmarks.extract_speed --codec vp9        # one of them
    python -m benchmarks.extract_speed --clip my.mp4      # a video of your own

Two jobs: one long video, for which all cores are free, and several short ones at once, one for each
core. Before anything is measured the frames and times of the stage are compared with those of a
plain decode of the whole video; if one byte differs the benchmark ends there.
"""

import json
import shutil
import subprocess
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from benchmarks.footage import ENCODINGS, SECONDS, encode, repeat
from benchmarks.harness import Contestant, finish, parse, parser, ratios, table, take_turns, timed
from benchmarks.results import Measurement, Table, Target
from engine import Item, available_cores
from engine.ledger.outputs.folders import commit_output, open_scratch
from stages.crawl.extract import Extract
from stages.media.pictures.rendering import Renderer, write_jpeg
from tests.stages.splitting import split_whole

OWN, KEYFRAMES = "Penstock", "Penstock, keyframes only"
FFMPEG, FFMPEG_ONE = "ffmpeg", "ffmpeg -threads 1"

SIZE, QUALITY = 640, 90
SETTINGS = Extract.Settings(size=SIZE, quality=QUALITY)
KEYFRAME_SETTINGS = Extract.Settings(size=SIZE, quality=QUALITY, sample="keyframes")

REPEATS = 6
"""How often a clip is repeated for a long video."""

Sampler = Callable[[Path, Path, bool], None]
"""Samples a video into a folder of JPEG files; True: with one decoder thread."""


def main() -> None:
    arguments = parse_arguments()
    tables: list[Table] = []
    targets: list[Target] = []
    samplers, notes = find_samplers()
    with tempfile.TemporaryDirectory() as folder:
        for title, clip, long in find_clips(arguments, Path(folder)):
            check(long, Path(folder))
            found = measure(title, clip, long, samplers, arguments, Path(folder))
            tables += found[0]
            targets += found[1]
    notes.append(
        "Every frame and timestamp of Penstock's was compared with a plain decode of the whole"
        " video in this run, byte for byte."
    )
    result = Measurement(
        "extract_speed",
        "One frame a second at 640 pixels",
        tables,
        targets,
        arguments.rounds,
        arguments.quick,
        notes,
    )
    finish(result, arguments)


def parse_arguments() -> Namespace:
    made = parser(__doc__, rounds=3)
    made.add_argument("--codec", choices=list(ENCODINGS), action="append", help="only this one")
    made.add_argument("--clip", type=Path, help="a video to use, in place of those made here")
    return parse(made)


def find_clips(arguments: Namespace, folder: Path) -> Iterator[tuple[str, Path, Path]]:
    """What to call it, a short video, and a long one; each made when it is asked for."""
    if arguments.clip is not None:
        if not arguments.clip.is_file():
            raise SystemExit(f"{arguments.clip} is not a file: --clip takes a video")
        yield arguments.clip.name, arguments.clip.resolve(), arguments.clip.resolve()
        return
    for name in arguments.codec or (["h264-720p"] if arguments.quick else ENCODINGS):
        encoding = ENCODINGS[name]
        clip, long = folder / f"{name}{encoding.suffix}", folder / f"{name}-long{encoding.suffix}"
        seconds = 2 if arguments.quick else SECONDS
        encode(encoding, clip, seconds)
        repeat(clip, REPEATS, long, seconds)
        yield encoding.title, clip, long


def measure(
    title: str,
    clip: Path,
    long: Path,
    samplers: Mapping[str, Sampler],
    arguments: Namespace,
    folder: Path,
) -> tuple[list[Table], list[Target]]:
    alone: dict[str, Contestant] = {
        OWN: timed(partial(on_one, extract, long, folder)),
        KEYFRAMES: timed(partial(on_one, extract_keyframes, long, folder)),
    }
    together: dict[str, Contestant] = {OWN: timed(partial(on_many, extract, clip, folder))}
    for name, sampler in samplers.items():
        alone[name] = timed(partial(on_one, sampler, long, folder))
        other = FFMPEG_ONE if name == FFMPEG else name
        together[other] = timed(partial(on_many, sampler, clip, folder))
    one = take_turns(alone, arguments.rounds, warm_up=0)  # the check has warmed up already
    many = take_turns(together, arguments.rounds, warm_up=0)
    tables = [
        table(f"{title}: one long video", one, OWN, ("wall s", "CPU s")),
        table(
            f"{title}: {videos_at_once()} videos, {available_cores()} at once",
            many,
            OWN,
            ("CPU s",),
        ),
    ]
    if FFMPEG not in samplers:
        return tables, []
    return tables, [
        Target(
            f"{title}: wall time of one long video, Penstock over ffmpeg",
            ratios(one[OWN], one[FFMPEG], "wall s"),
            0.6,
        ),
        Target(
            f"{title}: the same, its keyframes only, over ffmpeg's whole decode",
            ratios(one[KEYFRAMES], one[FFMPEG], "wall s"),
            0.12,
        ),
        Target(
            f"{title}: processor time of many at once, Penstock over ffmpeg -threads 1",
            ratios(many[OWN], many[FFMPEG_ONE], "CPU s"),
            0.75,
        ),
    ]


def videos_at_once() -> int:
    return 2 * available_cores()


def on_one(sampler: Sampler, clip: Path, folder: Path) -> None:
    """One video, with whatever threads the contestant takes of its own accord."""
    with scratch(folder) as out:
        sampler(clip, out, False)
        assert any(out.rglob("*.jpg")), f"{sampler} wrote nothing"


def on_many(sampler: Sampler, clip: Path, folder: Path) -> None:
    """The same video several times, one for each core at once, each with one decoder thread."""
    with scratch(folder) as out, ThreadPoolExecutor(available_cores()) as pool:
        outs = [out / str(number) for number in range(videos_at_once())]
        for each in outs:
            each.mkdir()
        for _ in pool.map(sampler, [clip] * len(outs), outs, [True] * len(outs)):
            pass
        assert all(any(each.rglob("*.jpg")) for each in outs), f"{sampler} wrote nothing"


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(dir=folder))
    yield made
    shutil.rmtree(made)


def extract(clip: Path, folder: Path, single: bool) -> None:
    """What a worker of the pipeline does with a video. Its defaults suit both jobs: with as many
    workers as cores, no core is idle, and each keeps to its own thread."""
    run_stage(clip, folder, SETTINGS)


def extract_keyframes(clip: Path, folder: Path, single: bool) -> None:
    run_stage(clip, folder, KEYFRAME_SETTINGS)


def run_stage(clip: Path, folder: Path, settings: Extract.Settings) -> Path:
    """Run the stage on a video in a work folder of its own; returns the output."""
    item = Item.at(folder, str(clip)).with_inputs({"video": "download"})
    download = open_scratch(item, "download")
    (download / "video").symlink_to(clip)
    (download / "info.json").write_text('{"file": "video"}')
    commit_output(item, "download", download, "benchmark")
    stage = Extract(settings, folder)
    stage.open()
    out = open_scratch(item, "extract")
    split_whole(stage, item, out)
    stage.close()
    return out


def check(clip: Path, folder: Path) -> None:
    """End the benchmark if the stage's files are not those of a plain decode of the whole video."""
    whole = plain_decode(clip)
    for settings in (SETTINGS, KEYFRAME_SETTINGS):
        with scratch(folder) as out:
            found = run_stage(clip, out, settings)
            lines = (found / "frames.jsonl").read_text().splitlines()
            files = {
                it["timestamp"]: found / "frames" / it["file"] for it in map(json.loads, lines)
            }
            expected = [
                (time, jpeg)
                for time, sampled, keyframe, jpeg in whole
                if (keyframe if settings.sample == "keyframes" else sampled)
            ]
            if list(files) != [time for time, _ in expected]:
                raise SystemExit(f"{clip.name}: the timestamps are not those of a full decode")
            for time, jpeg in expected:
                if files[time].read_bytes() != jpeg:
                    raise SystemExit(f"{clip.name}: the frame at {time} s is not a full decode's")


def plain_decode(clip: Path) -> list[tuple[float, bool, bool, bytes]]:
    """Every frame that is shown at a full second or is a keyframe: when, which of them, its file.

    By PyAV alone: all packets to one decoder thread, in order; each frame lasts until the next.
    """
    found = []
    with av.open(str(clip)) as container, tempfile.TemporaryDirectory() as folder:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        assert stream.time_base is not None
        renderer = Renderer(SIZE, stream.sample_aspect_ratio)
        file = Path(folder, "frame.jpg")

        def keep(frame: Any, start: Fraction, end: Fraction) -> None:
            sampled = -(-start // 1) < end
            if sampled or frame.key_frame:
                write_jpeg(renderer.render(frame), file, QUALITY)
                at = round(float(start), 6)
                found.append((at, sampled, frame.key_frame, file.read_bytes()))

        held: tuple[Any, Fraction] | None = None
        origin = None
        for frame in container.decode(stream):
            assert frame.pts is not None
            origin = frame.pts if origin is None else origin
            time = (frame.pts - origin) * stream.time_base
            if held is not None:
                keep(*held, time)
            held = (frame, time)
        assert held is not None
        last, time = held
        keep(last, time, time + (last.duration or 1) * stream.time_base)
    return found


def find_samplers() -> tuple[dict[str, Sampler], list[str]]:
    """The peers that run here, and a line about each that does not."""
    found: dict[str, Sampler] = {}
    notes = []
    if shutil.which("ffmpeg"):
        found[FFMPEG] = by_ffmpeg
    else:
        notes.append("ffmpeg's command is not installed: left out, and with it the targets.")
    found["PyAV, straightforwardly"] = by_pyav
    for name, module, sampler in (
        ("torchcodec", "torchcodec.decoders", by_torchcodec),
        ("SPDL", "spdl.io", by_spdl),
    ):
        try:
            import_module(module)
        except (ImportError, OSError, RuntimeError) as error:
            problem = str(error).strip().partition("\n")[0]
            notes.append(f"{name} does not load here and is left out: {problem}")
        else:
            found[name] = sampler
    return found, notes


def by_ffmpeg(clip: Path, folder: Path, single: bool) -> None:
    """The command line that one would type; -q:v 2 is its best JPEG."""
    command = ["ffmpeg", *(["-threads", "1"] if single else []), "-v", "error", "-nostdin"]
    command += ["-i", str(clip), "-vf", f"fps=1,scale={SIZE}:-2", "-q:v", "2"]
    subprocess.run([*command, str(folder / "%06d.jpg")], check=True)


def by_pyav(clip: Path, folder: Path, single: bool) -> None:
    """Decode everything, keep the first frame of each second."""
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE" if single else "AUTO"
        if single:
            stream.codec_context.thread_count = 1
        seconds = count()
        due = next(seconds)
        for frame in container.decode(stream):
            if frame.time is not None and frame.time >= due:
                height = round(frame.height * SIZE / frame.width)
                picture = frame.reformat(SIZE, height, "bgr24").to_ndarray()
                write(picture, folder, due)
                due = next(seconds)


def by_torchcodec(clip: Path, folder: Path, single: bool) -> None:
    """Its frames by time: it seeks, and decodes from the keyframe before."""
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(str(clip), num_ffmpeg_threads=1 if single else 0)
    end = float(decoder.metadata.end_stream_seconds or 0)
    frames = decoder.get_frames_played_at([float(at) for at in range(int(np.ceil(end)))])
    for at, frame in enumerate(frames.data.permute(0, 2, 3, 1).numpy()):
        height = round(frame.shape[0] * SIZE / frame.shape[1])
        small = cv2.resize(frame, (SIZE, height), interpolation=cv2.INTER_CUBIC)
        write(small[:, :, ::-1], folder, at)


def by_spdl(clip: Path, folder: Path, single: bool) -> None:
    """Its one call for a video, with FFmpeg's filters for rate and size."""
    import spdl.io

    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        height = round(stream.height * SIZE / stream.width)
    frames = spdl.io.load_video(
        str(clip),
        decode_config=spdl.io.decode_config(decoder_options={"threads": "1" if single else "auto"}),
        filter_desc=spdl.io.get_video_filter_desc(
            frame_rate=(1, 1), scale_width=SIZE, scale_height=height, pix_fmt="rgb24"
        ),
    )
    for at, frame in enumerate(spdl.io.to_numpy(frames)):
        write(frame[:, :, ::-1], folder, at)


def write(picture: "np.ndarray[Any, Any]", folder: Path, second: int) -> None:
    """As a JPEG file, by the same library and of the same quality as the stage's."""
    file, options = str(folder / f"{second:06}.jpg"), [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    cv2.imwrite(file, picture, options)


if __name__ == "__main__":
    main()
