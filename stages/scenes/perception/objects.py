"""The objects stage: what a detector sees in a scene, counted by class.

It writes `objects.json`: for each class the number of objects told apart, the most at once, and
the seconds of the video at which the first and the last were seen.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from engine import Ending, Item, Loan, Permanent, Skip, Stage, checkpoint, setting
from stages.files.folders import INFO
from stages.media.cores import PROCESS_CORES
from stages.media.packets.wanted_frames import decode_stretch
from stages.media.pictures.rendering import Renderer, UnrenderableError, not_rendered
from stages.media.sampling import Sampling, exact_seconds
from stages.models.detector import (
    Detection,
    Detector,
    DetectorSettings,
    borrow_detector,
    inference_batch_setting,
)
from stages.models.devices import gpu_needs, say_no_room, say_smaller_batch
from stages.models.inference import in_order
from stages.models.loading import told_by
from stages.models.network_input import Prepared, batches_of
from stages.models.runtimes import find_made_of
from stages.models.tracking import LEAST_CONFIDENCE, Tracker, TrackerKind, check_tracking
from stages.scenes.perception.tally import ObjectTally

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OBJECTS = "objects.json"
OFF = 'stages.objects.weights = ""'


@dataclass(slots=True)
class WatchedScene:
    """A scene that is being looked at: its video, its times, and what was seen until now."""

    path: Path
    start: Fraction
    end: Fraction
    out: Path
    tracker: Tracker
    tally: ObjectTally
    frames: int = 0
    ending: Ending | None = None
    """Why the scene cannot be looked at, if so."""


@dataclass(frozen=True, slots=True)
class WatchedFrame:
    """A frame of a scene, prepared for the detector; `picture` is for a tracker that needs it."""

    watch: WatchedScene
    time: Fraction
    prepared: Prepared
    picture: "NDArray[np.uint8] | None"


class Objects(Stage):
    """Detect, track and count the objects of a scene.

    Of `scene` it reads scene.json, of `video` info.json and the file that it names: only the
    scene's stretch of that. Frames of several scenes share batches; each scene has a tracker of its
    own. Raises Skip, of kind "off", where no weights are set, and Permanent as `open_video` does.
    """

    inputs = ("scene", "video")
    max_workers: ClassVar[int | None] = 2
    defaults: ClassVar[dict[str, Any]] = {"workers": 2, "batch": 4, "optional": True}
    item_failures = frozenset({"missing_file", "damaged", "unsupported_pixels"})

    class Settings(DetectorSettings):
        weights: str = setting(
            "yolo11n.pt",
            "YOLO weights: a .pt, .onnx or .engine file, an OpenVINO folder, or a published name; "
            '"" does without objects.',
            needs_trust=True,
        )
        confidence: float = setting(
            0.35, "Confidence, 0 to 1, from which on a detection counts.", ge=LEAST_CONFIDENCE, le=1
        )
        fps: float = setting(
            4.0,
            "Frames looked at per second of a scene; under 2 tracks break where things move.",
            gt=0,
            le=60,
        )
        tracker: TrackerKind = setting(
            "bytetrack",
            'What tells objects apart over time: "bytetrack", or "botsort", which allows for a '
            "moving camera and is slower.",
        )
        track_buffer: float = setting(
            1.0, "Seconds for which an object that is not seen keeps its id.", gt=0, le=60
        )
        inference_batch: int = inference_batch_setting(32)

    settings: "Objects.Settings"
    detector: Detector

    def needs(self) -> Mapping[str, int]:
        """The GPU that the model is on, once for both workers."""
        if not self.settings.weights:
            return {}
        return gpu_needs(self.settings.device, self.ingredients)

    def find_ingredients(self, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """The content of the weights, and what runs them. Raises UsageError where the weights, or a
        package, are missing."""
        settings = self.settings
        if not settings.weights:
            return {}
        check_tracking(f"set {OFF} to do without objects")
        with told_by("objects"):
            return find_made_of(
                settings.weights,
                runtime=settings.runtime,
                device=settings.device,
                image_size=settings.image_size,
                earlier=earlier or None,
                step="objects",
            )

    def open(self) -> None:
        """Load the model. Raises UsageError where the weights are missing or do not load."""
        self._loan: Loan[Detector] | None = None
        if self.settings.weights:
            if self.ingredients is None:
                self.ingredients = self.find_ingredients(None)
            self._borrow(self.settings.device, self.ingredients)

    def _borrow(self, device: str, made_of: Mapping[str, Any]) -> None:
        settings = self.settings
        with told_by("objects"):
            self._loan = borrow_detector(
                settings.weights,
                made_of,
                classes=settings.classes,
                confidence=LEAST_CONFIDENCE,
                iou=settings.iou,
                image_size=settings.image_size,
                batch=settings.inference_batch,
                device=device,
                half=settings.half,
            )
        self.detector = self._loan.thing

    def close(self) -> None:
        if self._loan is not None:
            self._loan.give_back()

    def process(self, item: Item, out: Path) -> None:
        [ending] = self.process_batch([item], [out])
        if ending is not None:
            raise ending

    def process_batch(self, items: list[Item], outs: list[Path]) -> list[Ending | None]:
        if not self.settings.weights:
            return [Skip(f"it is switched off: {OFF}", kind="off") for _ in items]
        with PROCESS_CORES.held():
            watches = self._watched(items, outs)
        for watch in watches:
            if watch.ending is None:
                self._write(watch)
        return [watch.ending for watch in watches]

    def _watched(self, items: Sequence[Item], outs: Sequence[Path]) -> list[WatchedScene]:
        import torch

        before = self.detector.batch
        try:
            watches = self._watch(items, outs)
            if self.detector.batch < before:
                say_smaller_batch("objects", str(self.detector.model.device), self.detector.batch)
            return watches
        except torch.cuda.OutOfMemoryError:
            say_no_room("objects", str(self.detector.model.device))
        self.close()
        self._borrow("cpu", self.ingredients or {})
        return self._watch(items, outs)

    def _watch(self, items: Sequence[Item], outs: Sequence[Path]) -> list[WatchedScene]:
        """Look at these scenes, one after the other. Raises OutOfMemoryError where the GPU has no
        room for a single frame."""
        detector = self.detector
        watches = [self._begin(item, out) for item, out in zip(items, outs, strict=True)]
        frames = chain.from_iterable(map(self._frames, watches))
        batches = batches_of(frames, detector.batch, lambda frame: frame.prepared.pixels.shape)
        # Two more batches than streams, so that no stream has to wait for a batch.
        with closing(in_order(self._detect, batches, detector.streams + 2)) as seen:
            for batch, found in seen:
                checkpoint()
                for frame, detections in zip(batch, found, strict=True):
                    watch = frame.watch
                    ids = watch.tracker.ids(detections, frame.picture)
                    watch.tally.see(frame.time, detections, ids)
                    watch.frames += 1
        return watches

    def _begin(self, item: Item, out: Path) -> WatchedScene:
        settings = self.settings
        scene = json.loads((item.input("scene") / "scene.json").read_text())
        folder = item.input("video")
        return WatchedScene(
            folder / json.loads((folder / INFO).read_text())["file"],
            exact_seconds(scene["start"]),
            exact_seconds(scene["end"]),
            out,
            Tracker(
                settings.tracker,
                rate=settings.fps,
                buffer=settings.track_buffer,
                confidence=settings.confidence,
            ),
            ObjectTally(settings.confidence),
        )

    def _frames(self, watch: WatchedScene) -> Iterator[WatchedFrame]:
        """The frames of a scene. One that cannot be decoded ends that scene alone."""
        sampling = middles(watch.start, watch.end, exact_seconds(self.settings.fps))
        renderer: Renderer | None = None
        try:
            for frame, time, video in decode_stretch(watch.path, sampling):
                renderer = renderer or Renderer(self.settings.image_size, crop=video.crop)
                try:
                    pixels = renderer.render(frame, video.aspects.of(frame))
                except UnrenderableError as error:
                    raise not_rendered(video.path, error) from error
                picture = pixels if watch.tracker.needs_pictures else None
                yield WatchedFrame(watch, time, self.detector.prepare(pixels), picture)
        except Ending as error:
            watch.ending = error

    def _detect(self, batch: list[WatchedFrame]) -> Future[list[list[Detection]]]:
        return self.detector.submit([frame.prepared for frame in batch])

    def _write(self, watch: WatchedScene) -> None:
        if not watch.frames:
            watch.ending = Permanent("no frame of the scene decodes", kind="damaged")
            return
        summary = {
            "objects": watch.tally.lines(),
            "frames": watch.frames,
            "made_by": f"{self.detector.weights.name}, {self.settings.tracker}",
        }
        (watch.out / OBJECTS).write_text(json.dumps(summary, indent=2) + "\n")


def middles(start: Fraction, end: Fraction, fps: Fraction) -> Sampling:
    """The frames shown in the middle of each 1/fps seconds from `start` to `end`; of a shorter
    stretch the one in its middle.

    The edges are no good: they are rounded, and the frame shown there may be the next scene's.
    """
    step = 1 / fps
    return Sampling(start, end, start + min(step, end - start) / 2, step)
