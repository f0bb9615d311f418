"""The facts in a packet's headers: whether its frame is shown, and its dependencies."""

from typing import TYPE_CHECKING

from stages.media.packets import nal_units
from stages.media.packets.av1_headers import HeaderReader
from stages.media.packets.table import KEYFRAME_RESETS, PacketFlag, PacketTable
from stages.media.video import Video

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream


class PacketReader:
    """Reads packets' headers as far as they tell dependencies."""

    def __init__(self, video: Video, table: PacketTable, keyframes_only: bool) -> None:
        self._table = table
        self._keyframes_only = keyframes_only
        self._extradata = video.stream.codec_context.extradata
        self._av1 = HeaderReader()
        self.is_bidirectional = False
        """Whether the last packet is a B-frame; only checked for H.264."""

    def at(self, packet: "Packet[VideoStream]") -> int:
        """The packet's flags; further facts go into the table."""
        flags = PacketFlag.HIDDEN if packet.is_discard else 0
        resets = self._resets(packet)
        if packet.is_keyframe:
            flags |= PacketFlag.KEYFRAME | (PacketFlag.RESET if resets else 0)
        return flags

    def _resets(self, packet: "Packet[VideoStream]") -> bool:
        table = self._table
        if table.codec == "av1":
            if self._keyframes_only and not packet.is_keyframe:
                return False  # a resetting keyframe holds everything that a decoder needs
            found = self._av1.dependencies(bytes(packet))
            table.steady = table.steady and self._av1.steady
            if not self._keyframes_only:
                table.reads.append(found.reads)
                table.writes.append(found.writes)
            return found.reset
        if table.codec in nal_units.CODECS:
            header, new_parameters = nal_units.beginning(
                table.codec, bytes(packet), self._extradata
            )
            table.steady = table.steady and not new_parameters
            table.layered = table.layered or (table.codec == "hevc" and header & 7 > 1)
            self.is_bidirectional = nal_units.is_bidirectional(table.codec, header)
            return nal_units.is_reset(table.codec, header)
        # Some containers mark every packet as a keyframe.
        return table.codec in KEYFRAME_RESETS and _is_vpx_keyframe(table.codec, bytes(packet))


def _is_vpx_keyframe(codec: str, data: bytes) -> bool:
    """Whether a packet of VP8 or VP9 begins with a keyframe (RFC 6386, 9.1; VP9 bitstream, 7.2)."""
    if codec == "vp8":
        return not data[0] & 1
    profile_3 = data[0] & 0x30 == 0x30
    show_existing, frame_type = (4, 2) if profile_3 else (8, 4)
    return not data[0] & (show_existing | frame_type)
