"""A file's sound as frames on the time of its video, in a form that is asked for."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, cast

from engine import checkpoint
from stages.media.damage import Damage

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer

_GAP = 0.05
"""Seconds of a gap in the time stamps that is filled with silence, and of an overlap that is cut,
at least: smaller ones are how containers round."""


@dataclass(frozen=True, slots=True)
class SoundForm:
    """Samples a second, channels and their format, by FFmpeg's names: "mono", "s16"."""

    rate: int
    layout: str
    samples: str


def decode_sound(
    container: "InputContainer", stream: "AudioStream", damage: Damage
) -> Iterator["AudioFrame"]:
    """The frames that decode, in the order of the file. Failures are recorded in `damage`."""
    import av

    pts, base = 0, Fraction(0)  # a time is made of them only where it is told: Fractions are slow
    try:
        for packet in container.demux(stream):
            checkpoint()
            if packet.pts is not None and packet.time_base is not None:
                pts, base = packet.pts, packet.time_base
            try:
                yield from packet.decode()
            except av.FFmpegError:
                damage.count(
                    "packet of sound could not be decoded",
                    "packets of sound could not be decoded",
                    pts * base,
                )
    except av.FFmpegError as error:
        damage.notes.append(f"the sound cannot be read to its end: {error.strerror}")


def resampled(
    frames: Iterator["AudioFrame"], zero: Fraction, form: SoundForm
) -> Iterator["AudioFrame"]:
    """The frames in that form, without gaps: the first sample is at second `zero` of the
    container's clock, and where sound is missing there is silence."""
    resampler, before, written, begin = None, None, 0, 0
    for frame in frames:
        base = frame.time_base
        if base is None or frame.pts is None:
            continue  # no time: it follows others that have one, which stretch to the next
        now = frame.format.name, frame.layout.name, frame.sample_rate, base
        if resampler is None or now != before:
            if resampler is not None:
                for done in resampler.rest():
                    written += done.samples
                    yield done
            resampler, before = Resampler(frame, written, form), now
            begin = round(zero / base)
        frame.pts -= begin
        for done in resampler.resample(frame):
            written += done.samples
            yield done
    if resampler is not None:
        yield from resampler.rest()


AT_ONCE = 32
"""Frames that go through the filters together: each way through them costs as much as the work on
a frame."""

BLOCK = 16_384
"""Samples of each frame that comes out, but for the last."""


class Resampler:
    """FFmpeg's filters for sound of the form of `first`: to the form that is asked for, without
    gaps.

    `async=1` fills gaps with silence and cuts overlaps; `first_pts`, the number of the first sample
    wanted, does so at the beginning. So no sample is later than its time says, however much of the
    track is missing.
    """

    def __init__(self, first: "AudioFrame", begin: int, form: SoundForm) -> None:
        import av

        self._graph = av.filter.Graph()
        source = self._graph.add_abuffer(
            sample_rate=first.sample_rate,
            format=first.format.name,
            layout=first.layout.name,
            time_base=first.time_base,
        )
        # Without a largest value, channels that are alike add up to more than full scale.
        resampler = self._graph.add(
            "aresample",
            f"{form.rate}:async=1:first_pts={begin}:min_hard_comp={_GAP}"
            f":out_chlayout={form.layout}:out_sample_fmt={form.samples}:rematrix_maxval=1",
        )
        blocks = self._graph.add("asetnsamples", f"n={BLOCK}:p=0")
        sink = self._graph.add("abuffersink")
        self._graph.link_nodes(source, resampler, blocks, sink).configure()
        self._pushed = 0

    def resample(self, frame: "AudioFrame | None") -> Iterator["AudioFrame"]:
        """The frames that are ready after this one, of this form."""
        import av

        self._graph.push(frame)
        self._pushed += 1
        if frame is not None and self._pushed % AT_ONCE:
            return
        while True:
            try:
                ready = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            yield cast("AudioFrame", ready)

    def rest(self) -> Iterator["AudioFrame"]:
        """Those that are left, once the last one of this form has come."""
        return self.resample(None)
