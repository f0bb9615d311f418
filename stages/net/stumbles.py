"""Where an unintended exception of yt-dlp arose."""

import re
import traceback
from typing import Literal

Place = Literal["connection", "site", "page"]

_OURS = re.compile(r"(stages|engine)\.(?!fetch\.guard\.(ytdlp_guard|responses|content_length)$)")
_YT_DLP = re.compile(r"yt_dlp(_plugins)?\.")
_SITE = re.compile(
    r"yt_dlp(_plugins)?\.extractor\.(?!(common|generic|extractors|lazy_extractors)$)"
)


def stumbled_over(error: BaseException) -> Place | None:
    """The place of yt-dlp's failure: the connection, code for one site, or a page or stream.

    yt-dlp trusts much of a server's data, so an invalid number becomes a ValueError. None where the
    exception did not arise in yt-dlp, or concerns this machine.
    """
    if isinstance(error, (OSError, MemoryError, ImportError)):
        return None
    frames = traceback.walk_tb(error.__traceback__)
    modules = [str(frame.f_globals.get("__name__", "")) for frame, _ in frames]
    theirs = [at for at, name in enumerate(modules) if _YT_DLP.match(name)]
    if not theirs or any(_OURS.match(name) for name in modules[theirs[0] :]):
        return None
    if modules[-1] == "http.client":
        return "connection"
    return "site" if any(_SITE.match(name) for name in modules) else "page"
