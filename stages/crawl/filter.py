"""Keeps the frames that show wanted objects, with their detections."""

from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import Field, model_validator

from engine import Drop, Item, Permanent, Stage, checkpoint, setting
from stages.files.folders import carry_info, link_or_copy
from stages.files.json_lines import read_lines, write_lines
from stages.media.pictures.frame_quality import Quality, measure
from stages.models.detector import Detection, DetectorSettings, borrow_detector
from stages.models.devices import gpu_needs
from stages.models.inference import in_order
from stages.models.network_input import Prepared, batches_of
from stages.models.runtimes import UNRECORDED, find_made_of

Thing = TypeVar("Thing")
Outcome = TypeVar("Outcome")

UNWANTED = "shows nothing wanted"
BLURRED = "too blurred"
DARK = "too dark"
BRIGHT = "too bright"

HANDED_OVER = 4
"""Times that the decoding threads hand over frames for one batch: each time two threads take turns,
which costs as much as a frame."""


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """One decoded frame: its line of frames.jsonl, its quality, and its
    prepared image for the model."""

    line: dict[str, Any]
    quality: Quality
    prepared: Prepared


class Filter(Stage):
    """Keep the frames that show a wanted object, as a YOLO model sees it.

    Of `frames` it reads frames/, frames.jsonl and info.json, as extract writes them, of a whole
    video or of a part of one. A video none of whose frames is kept is dropped as a whole.

    There is one model, whatever the workers. The second keeps it busy with the next video while the
    first's frames are read and its output is written; a third would add nothing to that.
    """

    inputs = "frames"
    max_workers: ClassVar[int | None] = 2
    defaults: ClassVar[dict[str, Any]] = {"workers": 2}
    unrecorded = UNRECORDED

    class Settings(DetectorSettings):
        weights: str = setting(
            "yolo11n.pt",
            "YOLO weights: a .pt, .onnx or .engine file, an OpenVINO folder, or a published name.",
            needs_trust=True,
            min_length=1,
        )
        classes: tuple[Annotated[str, Field(min_length=1)], ...] = setting(
            ("person",), "Names of the classes that make a frame worth keeping; [] for any class."
        )
        confidence: float = setting(
            0.35, "Confidence, 0 to 1, above which a detection counts.", ge=0, le=1
        )
        min_area: float = setting(
            0.0, "Share of the frame's area, 0 to 1, that a detection covers at least.", ge=0, le=1
        )
        decode_threads: int = setting(
            2,
            "Threads of a worker that decode frames while the model runs.",
            affects_output=False,
            ge=1,
        )
        min_sharpness: float | None = setting(
            None,
            "Drop frames less sharp than this (variance of the Laplacian); unset for any.",
            ge=0,
            example=50.0,
        )
        min_brightness: float | None = setting(
            None,
            "Drop frames darker than this, 0 to 255; unset for any.",
            ge=0,
            le=255,
            example=16.0,
        )
        max_brightness: float | None = setting(
            None,
            "Drop frames brighter than this, 0 to 255; unset for any.",
            ge=0,
            le=255,
            example=240.0,
        )
        keep_empty: bool = setting(
            False, "Whether a video goes on when none of its frames is kept; else it is dropped."
        )

        @model_validator(mode="after")
        def _floor_under_ceiling(self) -> "Filter.Settings":
            low, high = self.min_brightness, self.max_brightness
            if low is not None and high is not None and low > high:
                raise ValueError(f"min_brightness {low} is over max_brightness {high}")
            return self

    settings: "Filter.Settings"

    def needs(self) -> Mapping[str, int]:
        """The GPU that the model is on, once for both workers: they feed one model, side by side.
        Nothing on a CPU, whose cores all stages share."""
        return gpu_needs(self.settings.device, self.ingredients)

    def find_ingredients(self, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """The content of the weights, and what runs them. Exports them where that is wanted and has
        not been done before. Raises UsageError where the weights are missing."""
        settings = self.settings
        return find_made_of(
            settings.weights,
            runtime=settings.runtime,
            device=settings.device,
            image_size=settings.image_size,
            earlier=earlier,
        )

    def open(self) -> None:
        """Load the model. Raises UsageError where the weights are missing or do not load."""
        settings = self.settings
        if self.ingredients is None:
            self.ingredients = self.find_ingredients(None)
        self._loan = borrow_detector(
            settings.weights,
            self.ingredients,
            classes=settings.classes,
            confidence=settings.confidence,
            iou=settings.iou,
            image_size=settings.image_size,
            batch=settings.inference_batch,
            device=settings.device,
            half=settings.half,
        )
        self.detector = self._loan.thing
        self._decoders = ThreadPoolExecutor(settings.decode_threads, "penstock-decode")

    def process(self, item: Item, out: Path) -> None:
        """Write frames/, detections.jsonl and filter.json. Raises Drop where no frame of a whole
        video is kept."""
        source = item.input("frames")
        lines = read_lines(source / "frames.jsonl")
        rejected: Counter[str] = Counter()
        kept = list(self._kept(source / "frames", lines, rejected))
        if item.parent is None:
            self._check_that_any_is_kept(len(lines), len(kept), rejected)

        (out / "frames").mkdir()
        for line in kept:
            link_or_copy(source / "frames" / line["file"], out / "frames" / line["file"])
        write_lines(out / "detections.jsonl", kept)
        summary = {
            "frames_in": len(lines),
            "frames_kept": len(kept),
            "rejected": dict(sorted(rejected.items())),
            "weights": self.detector.weights.name,
            "classes": list(self.settings.classes),
            "names": list(self.detector.names.values()),
        }
        write_lines(out / "filter.json", [summary])
        carry_info(source, out)

    def judge(self, outputs: Iterator[Path]) -> None:
        """Raises Drop where no frame of the video is kept."""
        frames = kept = 0
        rejected: Counter[str] = Counter()
        for output in outputs:
            [counts] = read_lines(output / "filter.json")
            frames += counts["frames_in"]
            kept += counts["frames_kept"]
            rejected.update(counts["rejected"])
        self._check_that_any_is_kept(frames, kept, rejected)

    def _check_that_any_is_kept(self, frames: int, kept: int, rejected: Counter[str]) -> None:
        if not kept and not self.settings.keep_empty:
            raise Drop(self._why_empty(frames, rejected), kind="nothing_wanted")

    def close(self) -> None:
        self._decoders.shutdown(cancel_futures=True)
        self._loan.give_back()

    def _kept(
        self, folder: Path, lines: list[dict[str, Any]], rejected: Counter[str]
    ) -> Iterator[dict[str, Any]]:
        detector = self.detector
        frames = self._good(folder, lines, rejected)
        # Batches depend only on the frames' places in the item, never on other work or on load.
        batches = batches_of(frames, detector.batch, lambda frame: frame.prepared.pixels.shape)
        # Two more batches than streams, so that no stream has to wait for a batch.
        seen = in_order(self._detect, batches, detector.streams + 2)
        with closing(frames), closing(seen):
            for batch, found in seen:
                checkpoint()
                for frame, detections in zip(batch, found, strict=True):
                    wanted = self._large_enough(frame, detections)
                    if wanted:
                        yield described(frame, wanted)
                    else:
                        rejected[UNWANTED] += 1

    def _good(
        self, folder: Path, lines: list[dict[str, Any]], rejected: Counter[str]
    ) -> Generator[DecodedFrame, None, None]:
        """Frames that are sharp and bright enough, decoded ahead by one batch per stream."""
        batch = self.detector.batch
        some = max(1, batch // HANDED_OVER)
        ahead = batch // some * self.detector.streams + self.settings.decode_threads
        decoded = in_order(
            lambda part: self._decoders.submit(self._decode_all, folder, part),
            batches_of(lines, some, lambda _: None),
            ahead,
        )
        with closing(decoded) as parts:
            for _, frames in parts:
                for frame in frames:
                    fault = self._fault(frame.quality)
                    if fault is None:
                        yield frame
                    else:
                        rejected[fault] += 1

    def _decode_all(self, folder: Path, lines: Sequence[dict[str, Any]]) -> list[DecodedFrame]:
        return [self._decode(folder, line) for line in lines]

    def _decode(self, folder: Path, line: dict[str, Any]) -> DecodedFrame:
        """The frame of one line of frames.jsonl. Raises Permanent for a file that is no image."""
        import cv2
        import numpy as np

        # Python reads the file: a path that is not UTF-8 makes OpenCV crash the process.
        try:
            content = np.fromfile(folder / line["file"], np.uint8)
        except FileNotFoundError:
            content = np.empty(0, np.uint8)
        image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
        if image is None:
            raise Permanent(
                f"frame {line['file']} cannot be read as an image; "
                f"delete the item's extract folder and run again",
                kind="unreadable_frame",
            )
        pixels = np.asarray(image, np.uint8)
        return DecodedFrame(line, measure(pixels), self.detector.prepare(pixels))

    def _detect(self, batch: list[DecodedFrame]) -> Future[list[list[Detection]]]:
        return self.detector.submit([frame.prepared for frame in batch])

    def _fault(self, quality: Quality) -> str | None:
        settings = self.settings
        if settings.min_sharpness is not None and quality.sharpness < settings.min_sharpness:
            return BLURRED
        if settings.min_brightness is not None and quality.brightness < settings.min_brightness:
            return DARK
        if settings.max_brightness is not None and quality.brightness > settings.max_brightness:
            return BRIGHT
        return None

    def _large_enough(
        self, frame: DecodedFrame, detections: Sequence[Detection]
    ) -> list[Detection]:
        height, width = frame.prepared.shape
        least = self.settings.min_area * width * height
        return [detection for detection in detections if detection.area >= least]

    def _why_empty(self, frames: int, rejected: Counter[str]) -> str:
        if not frames:
            return "there is no frame to look at"
        wanted = " or ".join(self.settings.classes) or "anything that the model knows"
        faults = [
            f"{count} {fault}" for fault, count in sorted(rejected.items()) if fault != UNWANTED
        ]
        return f"no frame of {frames} shows {wanted}" + (
            f" ({', '.join(faults)})" if faults else ""
        )


def described(frame: DecodedFrame, detections: Sequence[Detection]) -> dict[str, Any]:
    """A frame's line of detections.jsonl: its line of frames.jsonl and its detections."""
    return {
        **frame.line,
        "sharpness": round(frame.quality.sharpness, 3),
        "brightness": round(frame.quality.brightness, 3),
        "detections": [
            {
                "class": detection.name,
                "confidence": round(detection.confidence, 4),
                "box": [round(edge, 1) for edge in detection.box],
            }
            for detection in detections
        ],
    }
