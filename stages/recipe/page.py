"""The sections of the report page: the figures of the last run, and the documents."""

import base64
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from engine import Item, PageContext, Section
from stages.persistence.records import DOCUMENT
from stages.recipe.figures import kept_figures
from stages.recipe.writing.markdown import TITLES, clock, is_empty
from stages.recipe.writing.write import WriteDocument

MOST = 30
"""Documents that the page shows; of more it says where they are."""

THUMBNAIL = 200
"""Pixels along the longer side of a frame."""

STYLE = """
.document { border-top: 1px solid #8884; padding: 0.6rem 0 1rem; }
.document .frames { display: flex; flex-wrap: wrap; gap: 0.3rem; }
.document figure { margin: 0; }
.document figcaption { font-size: 0.75rem; text-align: center; opacity: 0.7; }
.document img { max-height: 7rem; display: block; border-radius: 3px; }
.document .amiss { color: #b35c00; }
.document time, .document td.when { opacity: 0.7; white-space: nowrap; }
"""


def sections(context: PageContext) -> Iterator[Section]:
    """The figures, where a run has any, and the documents."""
    if found := kept_figures(context.workdir):
        yield Section("Figures of the last run", _figures(found))
    yield Section("Documents", _documents(context), style=STYLE, first=True)


def _figures(found: Any) -> str:
    from markupsafe import Markup

    rows = Markup("").join(
        Markup("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>").format(
            one.name, one.value, one.target, {True: "met", False: "missed", None: ""}[one.met]
        )
        for one in found
    )
    head = Markup("<tr><th>figure</th><th>value</th><th>target</th><th></th></tr>")
    return Markup("<table>{}{}</table>").format(head, rows)


def _documents(context: PageContext) -> str:
    from markupsafe import Markup

    shown = [*islice(_shown(context), MOST + 1)]
    if not shown:
        return Markup("<p>No document is written yet.</p>")
    more = Markup("<p>More are in the folder <code>documents</code>.</p>")
    return Markup("").join(shown[:MOST]) + (more if len(shown) > MOST else Markup(""))


def _shown(context: PageContext) -> Iterator[str]:
    from markupsafe import Markup

    for record in context.items():
        item = Item(record.id, record.source, record.folder)
        if not item.has_output(WriteDocument.name):
            continue
        folder = item.output(WriteDocument.name)
        if not (folder / DOCUMENT).is_file():
            continue
        told = json.loads((folder / DOCUMENT).read_text("utf-8"))
        document = told["document"]
        title = document.get("title") or document.get("name") or record.id
        amiss = Markup("").join(
            Markup('<p class="amiss">Partial: {}</p>').format(one) for one in told["problems"]
        )
        fields = Markup("").join(
            _field(name, value)
            for name, value in document.items()
            if name not in TITLES and not is_empty(value)
        )
        yield Markup(
            '<div class="document"><h3>{}</h3>{}<div class="frames">{}</div>{}</div>'
        ).format(title, amiss, _frames(folder, told["frames"]), fields)


def _field(name: str, value: Any) -> str:
    from markupsafe import Markup

    words = name.replace("_", " ").capitalize()
    if isinstance(value, list):
        entries = Markup("").join(Markup("<li>{}</li>").format(_entry(one)) for one in value)
        return Markup("<h4>{}</h4><ol>{}</ol>").format(words, entries)
    if name in ("description", "summary", "text"):
        return Markup("<p>{}</p>").format(value)
    return Markup("<p><b>{}</b>: {}</p>").format(words, _entry(value))


def _entry(entry: Any) -> str:
    from markupsafe import Markup

    if not isinstance(entry, Mapping):
        return Markup("{}").format(entry)
    texts = [
        str(value) if isinstance(value, str) else f"{name.replace('_', ' ')} {value}"
        for name, value in entry.items()
        if name not in ("start", "end", "at") and not is_empty(value)
    ]
    times = [entry.get("start", entry.get("at")), entry.get("end")]
    when = "–".join(dict.fromkeys(clock(one) for one in times if isinstance(one, int | float)))
    return Markup("{} <time>{}</time>").format(", ".join(texts), when)


def _frames(folder: Path, seconds: list[float]) -> str:
    from markupsafe import Markup

    found = []
    for file, second in zip(sorted((folder / "frames").glob("*.jpg")), seconds, strict=False):
        data = base64.b64encode(_small(file)).decode()
        found.append(
            Markup(
                '<figure><img alt="" src="data:image/jpeg;base64,{}">'
                "<figcaption>{}</figcaption></figure>"
            ).format(data, clock(second))
        )
    return Markup("").join(found)


def _small(file: Path) -> bytes:
    import cv2

    picture: Any = cv2.imread(str(file))
    scale = min(1.0, THUMBNAIL / max(picture.shape[:2]))
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 75])[1].tobytes())
