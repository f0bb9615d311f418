"""JavaScript runtimes on this machine, which yt-dlp needs for YouTube's challenges."""

RUNTIMES = ("deno", "node", "bun", "quickjs")
"""All runtimes that yt-dlp can use. By default it only looks for Deno."""


def usable_runtimes() -> list[str]:
    """The installed runtimes that are new enough for yt-dlp, each with its version."""
    from yt_dlp.globals import supported_js_runtimes

    found = [kind().info for kind in supported_js_runtimes.value.values()]
    return [f"{info.name} {info.version}" for info in found if info and info.supported]
