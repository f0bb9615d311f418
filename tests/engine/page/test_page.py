"""The page as a file: what is in it, and that nothing from outside gets to be more than text."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markupsafe import Markup

from engine import PageContext, Section, WorkFolderError
from engine.page.page import as_script, render_file
from tests.engine.page.ledgers import add_attempts, add_run, made_ledger
from tests.engine.toy_parts import at, cut, gather
from tests.engine.toys import configured, line, run, toy

HOSTILE = '</script><script>alert(1)</script>"><img src=x onerror=alert(2)>{{7*7}}'


class Elements(HTMLParser):
    """The elements of a page, with their attributes, and the text of scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._in_script = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in_script = tag == "script"
        if self._in_script:
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts[-1] += data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_what_comes_from_outside_stays_text(tmp_path: Path) -> None:
    source = f"https://example.org/{HOSTILE}"
    pipeline = line(
        toy("a", does={source: ["bug"]}),
        sections=lambda context: [Section(HOSTILE, HOSTILE)],
    )
    run(pipeline, tmp_path, [source, "javascript:alert(3)"], f"stages.a.note={HOSTILE}")

    page = Elements(render_file(pipeline, tmp_path, running=False))

    assert len(page.scripts) == 3
    assert page.attributes("img") == []
    assert not [name for _, attributes in page.elements for name in attributes if name[:2] == "on"]
    links = [link["href"] or "" for link in page.attributes("a")]
    assert all(link.startswith(("#", "https://example.org/")) for link in links)
    assert json.loads(page.scripts[0])["timeline"]["items"] == [source, "javascript:alert(3)"]


def test_only_its_own_scripts_may_run(tmp_path: Path) -> None:
    pipeline = line(toy("a"))
    run(pipeline, tmp_path, ["v1"])

    page = Elements(render_file(pipeline, tmp_path, running=False))

    [policy] = [m["content"] for m in page.attributes("meta") if m.get("http-equiv")]
    hashes = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        for script in page.scripts[1:]
    ]
    assert policy is not None
    assert re.findall(r"'sha256-([^']+)'", policy) == hashes
    assert "default-src 'none'" in policy
    assert "connect-src 'none'" in policy
    assert not [a for _, a in page.elements if (a.get("src") or "").startswith("http")]


def test_a_name_that_is_no_unicode_does_not_hinder(tmp_path: Path) -> None:
    pipeline = line(toy("a", does={"v\udce9": ["permanent"]}))
    run(pipeline, tmp_path, ["v\udce9"])

    assert "<b>1</b> failed in a" in render_file(pipeline, tmp_path, running=False)


def test_data_cannot_end_its_script() -> None:
    text = as_script({"a": HOSTILE, "b": "<!--\u2028"})

    assert "<" not in text
    assert json.loads(text) == {"a": HOSTILE, "b": "<!--\u2028"}


def test_it_tells_how_things_stand(tmp_path: Path) -> None:
    does = {f"v{n}": ["permanent"] for n in range(7)} | {"v7": ["drop"]}
    pipeline = line(toy("a", does=does), toy("b", "a"))
    run(pipeline, tmp_path, [f"v{n}" for n in range(10)])

    html = render_file(pipeline, tmp_path, running=False)

    for name, count in (("entered", 10), ("done", 2), ("dropped", 1), ("failed", 7)):
        assert f'<b id="count-{name}">{count}</b>' in html
    assert "and 2 more" in html
    assert f"penstock retry {tmp_path} --class permanent --stage a" in html
    assert 'class="state done"' in html
    assert "Dropped: 1, which is fine" in html


def test_a_killed_run_and_one_at_work_are_told_apart(tmp_path: Path) -> None:
    with made_ledger(tmp_path) as ledger:
        number = add_run(ledger, 0.0, None)
        add_attempts(ledger, number, [("v1", "a", 1.0, 2.0, "done"), ("v2", "a", 2.0, None, "")])
    pipeline = line(toy("a"))

    assert 'class="state killed"' in render_file(pipeline, tmp_path, running=False)
    assert 'class="state running"' in render_file(pipeline, tmp_path, running=True)


def test_passwords_in_settings_are_not_shown(tmp_path: Path) -> None:
    pipeline = line(toy("a"))
    run(pipeline, tmp_path, ["v1"], "stages.a.note=http://me:secret@proxy:8080")

    html = render_file(pipeline, tmp_path, running=False)

    assert "proxy:8080" in html
    assert "secret" not in html


def test_a_pipeline_contributes_sections(tmp_path: Path) -> None:
    def sections(context: PageContext) -> list[Section]:
        ids = ", ".join(record.source for record in context.items())
        return [Section("Mine", Markup("<p class=own>{}</p>").format(ids), ".own > b {color: red}")]

    pipeline = line(toy("a"), sections=sections)
    run(pipeline, tmp_path, ["v1", "v2"])

    html = render_file(pipeline, tmp_path, running=False)

    assert re.search(r"<p class=own>v\d, v\d</p>", html)
    assert "<style>.own > b {color: red}</style>" in html


def test_sections_that_go_wrong_say_so(tmp_path: Path) -> None:
    def sections(context: PageContext) -> list[Section]:
        raise ValueError("<b>no picture</b>")

    pipeline = line(toy("a"), sections=sections)
    run(pipeline, tmp_path, ["v1"])

    html = render_file(pipeline, tmp_path, running=False)

    assert "(ValueError: &lt;b&gt;no picture&lt;/b&gt;)" in html


def test_what_is_no_work_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkFolderError, match="is not a work folder"):
        render_file(line(toy("a")), tmp_path, running=False)


def test_settings_of_the_toys_are_shown(tmp_path: Path) -> None:
    pipeline = line(toy("a"))
    run(pipeline, tmp_path, ["v1"], "stages.a.value=7")

    html = render_file(pipeline, tmp_path, running=False)

    assert "[stages.a]" in html
    assert "<dt>value</dt><dd>7</dd>" in html
    assert configured(pipeline).stages["a"].options.queue == 8
    assert "<dt>queue</dt><dd>8</dd>" in html


def test_parts_stand_beside_items_and_are_named_by_them(tmp_path: Path) -> None:
    source = "https://example.org/a.mp4"
    steps = [cut("c"), at("c", "f", does={f"{source}/1": ["permanent"]}), gather("g", "f")]
    pipeline = line(*steps, unit="page")
    run(pipeline, tmp_path, [source, "b"], "stages.c.most_failed=1")

    html = render_file(pipeline, tmp_path, running=False)

    assert '<b id="count-entered">2</b><span>pages, 6 parts</span>' in html
    assert "f (parts)</th>" in html
    assert "<b>1</b> part failed in f: <code>permanent</code> (a gap)</h3>" in html
    assert f">{source}</a>, part 2</span>" in html
    again = f"1 page is done without parts that failed; try those again: penstock retry {tmp_path}"
    assert f'id="gaps">{again} --gaps</p>' in html
    assert json.loads(Elements(html).scripts[0])["timeline"]["items"] == [source, "b"]


def test_a_bar_shows_the_parts_while_items_are_under_way(tmp_path: Path) -> None:
    steps = [cut("c"), at("c", "f", does={"a/1": ["permanent"]}), gather("g", "f")]
    run(line(*steps), tmp_path, ["a"], "stages.c.most_failed=1")
    ended = Elements(render_file(line(*steps), tmp_path, running=False))
    assert len([one for one in ended.attributes("div") if "bar" in one.get("class", "")]) == 1
    with made_ledger(tmp_path) as ledger:
        ledger._db.execute("UPDATE items SET outcome = 'pending' WHERE position IS NULL")
    html = render_file(line(*steps), tmp_path, running=True)
    assert 'class="bar of-parts" role="img" aria-label="parts: 2 done, 0 dropped, 1 failed' in html


def test_the_page_of_items_without_parts_does_not_speak_of_them(tmp_path: Path) -> None:
    pipeline = line(toy("a"))
    run(pipeline, tmp_path, ["v1"])
    page = Elements(render_file(pipeline, tmp_path, running=False))
    assert not [one for one in page.attributes("p") if one.get("id") == "gaps"]
    assert "<span>items</span>" in render_file(pipeline, tmp_path, running=False)
