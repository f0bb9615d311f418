"""A document as a page that people read, whatever its form."""

from collections.abc import Iterator, Mapping
from typing import Any

TITLES = ("title", "name")


def as_markdown(document: Mapping[str, Any], notes: list[str]) -> str:
    """The document in Markdown: its title, its texts, its lists; `notes` say what is amiss."""
    title = next((document[name] for name in TITLES if document.get(name)), "Untitled")
    lines = [f"# {_inline(title)}", ""]
    lines += [f"> {_inline(note)}" for note in notes]
    lines += [""] if notes else []
    for name, value in document.items():
        if name not in TITLES and not is_empty(value):
            lines += [*_field(name, value), ""]
    return "\n".join(lines).rstrip() + "\n"


def is_empty(value: Any) -> bool:
    """Whether a field says nothing: as one whose fields all say nothing."""
    if isinstance(value, Mapping):
        return all(is_empty(inner) for inner in value.values())
    return value in (None, "", [])


def _field(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, list):
        yield f"## {_words(name)}"
        yield ""
        for number, entry in enumerate(value, 1):
            yield f"{number}. {_entry(entry)}"
    elif isinstance(value, Mapping):
        yield f"**{_words(name)}**: {_entry(value)}"
    elif name in ("description", "summary", "text"):
        yield _inline(value)
    else:
        yield f"**{_words(name)}**: {_inline(value)}"


def _entry(entry: Any) -> str:
    """An entry in one line: its texts, then its times."""
    if not isinstance(entry, Mapping):
        return _inline(entry)
    begin, end = entry.get("start", entry.get("at")), entry.get("end")
    texts = [
        _inline(value) if isinstance(value, str) else f"{_words(name)} {_inline(value)}"
        for name, value in entry.items()
        if name not in ("start", "end", "at") and not is_empty(value)
    ]
    times = [clock(one) for one in (begin, end) if isinstance(one, int | float)]
    return ", ".join(texts) + (f" ({'–'.join(dict.fromkeys(times))})" if times else "")


def clock(second: float) -> str:
    """Seconds as minutes and seconds: "1:05"."""
    return f"{int(second) // 60}:{int(second) % 60:02}"


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _inline(value: Any) -> str:
    """On one line, and nothing that Markdown would take for its own."""
    text = " ".join(str(value).split())
    return "".join(f"\\{one}" if one in "\\`*_[]<>#|" else one for one in text)
