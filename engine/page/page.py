"""Renders a work folder's data as HTML: one self-contained file, or a live page.

Everything from outside (addresses, titles, messages) is escaped by the templates, which escape all
text that is not marked as HTML; and the page's policy lets only its own scripts run.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from pydantic import BaseModel

from engine.contract.pipeline import ItemRecord, PageContext, Pipeline, Section
from engine.ledger.reader import LedgerReader
from engine.page.data import Book, PageData, clock, took
from engine.page.timeline import OUTCOMES
from engine.telemetry.text import duration, one_line, pace, writable

PARTS = ("overview", "stages", "failures")
"""The parts of the page that change during a run, beside the charts and the pipeline's sections."""


def render_file(pipeline: Pipeline, workdir: Path, *, running: bool) -> str:
    """The page as one file. Raises WorkFolderError where `workdir` is no work folder."""
    book = Book(pipeline, workdir)
    data = book.read(running=running)
    sections = sections_of(pipeline, page_context(workdir))
    return render_page(book, data, sections, live=False)


def render_page(book: Book, data: PageData, sections: Sequence[Section], *, live: bool) -> str:
    """The whole page; a `live` one loads its scripts and then asks its server for news."""
    own = scripts_of(sections)
    scripts = [] if live else [Markup(text) for text in (plotly(), part("page.js"), *own)]
    page = _templates().get_template("page.html")
    html = page.render(
        data=data,
        parts={name: Markup(html) for name, html in render_parts(data).items()},
        sections=Markup(render_sections(sections)),
        style=Markup(part("page.css")),
        scripts=scripts,
        policy=_policy(scripts, live=live),
        payload=Markup(as_script(payload(book))),
        live=live,
        has_own_scripts=bool(own),
        own_first=any(section.first for section in sections),
    )
    # A title from a site may hold half a surrogate pair, which UTF-8 cannot encode.
    return writable(html)


def render_parts(data: PageData) -> dict[str, str]:
    """The HTML of each of PARTS, by name."""
    return {name: _templates().get_template(f"{name}.html").render(data=data) for name in PARTS}


def render_sections(sections: Sequence[Section]) -> str:
    """The HTML of the pipeline's sections."""
    return _templates().get_template("sections.html").render(sections=sections)


def scripts_of(sections: Iterable[Section]) -> list[str]:
    """The scripts of the pipeline's sections, each once, in order."""
    return list(dict.fromkeys(section.script for section in sections if section.script))


def page_context(
    workdir: Path, *, live: bool = False, settings: Mapping[str, BaseModel] | None = None
) -> PageContext:
    """What a pipeline gets for its sections and answers."""

    def items() -> Iterator[ItemRecord]:
        with LedgerReader(workdir) as reader:
            yield from reader.item_records()

    return PageContext(workdir, items, live, settings or {})


def sections_of(pipeline: Pipeline, context: PageContext) -> list[Section]:
    """The pipeline's sections for the work folder as it stands. If making them fails, a section
    says so: a damaged picture must not hide the rest of the page."""
    if pipeline.sections is None:
        return []
    try:
        return list(pipeline.sections(context))
    except Exception as error:  # another package's code may raise anything
        what = f"{type(error).__name__}: {one_line(str(error))}"
        return [Section("Not shown", f"What {pipeline.name} adds cannot be made now ({what}).")]


def payload(book: Book) -> dict[str, Any]:
    """The data of the page's charts, JSON-able."""
    return {
        "stages": list(book.pipeline.names),
        "outcomes": list(OUTCOMES),
        "runs": book.axis(),
        "timeline": book.timeline.since(-1, 0, 0),
        "curves": book.curves(),
    }


def as_script(value: Any) -> str:
    """JSON for a script element: no text in it can end the element."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c")


def part(name: str) -> str:
    """A file of the page's own."""
    return files("engine.page").joinpath("parts", name).read_text(encoding="utf-8")


@cache
def plotly() -> str:
    """plotly.js, from the package plotly."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _policy(scripts: Sequence[str], *, live: bool) -> str:
    """The page's Content-Security-Policy: its own scripts, pictures inside it, and its server."""
    server = " 'self'" if live else ""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    allowed = " ".join(f"'sha256-{value}'" for value in hashes)
    none = "'none'"
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {allowed or chr(39) + 'self' + chr(39)}",
            "style-src 'unsafe-inline'",  # plotly.js writes style elements
            f"img-src data: blob:{server}",
            f"media-src {server.strip() or none}",
            f"connect-src {server.strip() or none}",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("engine.page", "parts"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "clock": clock,
        "count": lambda number: f"{number:,}",
        "css": _css,
        "digest": _digest,
        "duration": duration,
        "link": _link,
        "pace": pace,
        "percent": lambda share: f"{share:.0%}",
        "sections": _settings_by_section,
        "setting": _setting,
        "took": took,
    }
    return environment


def _css(style: str) -> str:
    """The style as it is: what escapes text would spoil it. Nothing in it ends the element."""
    return Markup(style.replace("</", "<\\/"))


def _digest(section: Section) -> str:
    """Tells whether a section has changed."""
    whole = f"{section.title}\0{section.body}"
    return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _link(source: str) -> str:
    """A link if `source` is an address on the web, else the text itself."""
    if not re.match(r"https?://", source):
        return source
    return Markup('<a href="{}" rel="noopener noreferrer">{}</a>').format(source, source)


def _setting(value: Any) -> str:
    """A setting's value; of free-form options only the names, and no passwords in addresses."""
    if value is None:
        return "unset"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: …' for key in sorted(value))}}}"
    text = json.dumps(value, ensure_ascii=False)
    return re.sub(r"(\w+://)[^/@\s\"]+@", r"\1…@", text)


def _settings_by_section(settings: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The sections of config.toml with their settings, the stages first."""
    stages = [(f"stages.{name}", table) for name, table in settings.get("stages", {}).items()]
    return [*stages, *((name, table) for name, table in settings.items() if name != "stages")]
