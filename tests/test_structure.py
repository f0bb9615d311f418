"""The house: who may import whom, and what stands where. Read from the syntax trees alone, so that
imports within functions and those for types count as well."""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import engine

ROOT = Path(__file__).parents[1]

TOPS = ("engine", "stages", "benchmarks")

MOST_LINES = 400
MOST_FILES = 16

PUBLIC = {
    "to write stages": "Item Parts Produced Stage StageOptions Settings Cancelled Deadline"
    " MissingOutput Loan available_cores writable borrow checkpoint deadline ensure_ours"
    " setting shown shown_in why_refused",
    "to share rates": "GatesAway SharedGate SharedLimits Shut has_run_loop on_run_loop shared_gate"
    " note_paid_request",
    "to end otherwise": "Ending Drop Permanent Skip StandIn StopRun Throttled Transient Withdrawn",
    "to write pipelines": "SOURCE AttemptRecord Check FinishContext Flag ItemRecord PageContext"
    " PageFile Pipeline RunRecord Section Step",
    "to bring items": "Job JobOutcome JoinedSources Source id_with_options passed_seconds",
    "errors": "ConfigError PenstockError PipelineError UsageError WorkFolderError",
    "to run them": "Config JobProfile RunReport LOCK_FILES execute find_pipeline"
    " installed_pipelines load_config load_profile locked open_list read_item run_pipeline"
    " read_list",
    "to listen": "AttemptEnded AttemptStarted Event Events ItemEnded ItemEntered ItemGivenUp"
    " ItemPaths ItemUnfinished PartEnded PartEntered RunEnded RunStarted SourceEnded StepOpened"
    " Stopping",
    "to serve": "AppServer OwnTables Port",
}
"""What `engine` offers to the authors of stages and pipelines, and to programs that embed it."""

FOREIGN = {
    # yt-dlp's request handlers and downloader, which the guard stands in for
    "_calculate_timeout", "_client_cert", "_get_cookiejar", "_get_impersonate_headers",
    "_get_proxies", "_get_request_target", "_ies", "_make_sslcontext", "_request_director",
    "_tunnel_host",  # of urllib's requests
    "_check_close", "_method",  # of http.client's responses
    "_exit",  # of os
    "_error_buffer",  # of curl_cffi's transfers
    "_model_type",  # of ultralytics' AutoBackend
    "_replace",  # of every named tuple
}  # fmt: skip
"""Private names of libraries, where these offer no other way."""


@cache
def modules() -> dict[str, Path]:
    """Every module of ours by its dotted name."""
    found = {}
    for top in TOPS:
        for path in sorted((ROOT / top).rglob("*.py")):
            if "as_module" in path.parts:
                continue  # the face of `python -m penstock`: a package of another name
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


def imports(module: str) -> Iterator[tuple[str, str]]:
    """What a module imports of ours: the module, and the name ("" for the module itself)."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in modules():
                    yield alias.name, ""
        elif isinstance(node, ast.ImportFrom) and node.module in modules():
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                # A package's face may offer a function of the name of a module in it.
                yield (inner, "") if inner in modules() else (node.module, alias.name)


def room_of(module: str) -> str:
    """The folder that a module lies in: "engine.flow"; a top level itself: "engine"."""
    return ".".join(modules()[module].relative_to(ROOT).parts[:-1])


def floors(top: str) -> list[list[str]]:
    """The rooms as docs/architecture.md orders them, from the ground up."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- order: {top} -->\s*```text\n(.*?)```", page, re.DOTALL)
    assert found, f"docs/architecture.md has no order of the rooms of {top}"
    order = " ".join(found[1].split())
    return [
        [f"{top}.{room.strip()}" for room in floor.split(",")]
        for floor in reversed(order.split(">"))
    ]


@pytest.mark.parametrize("top", ["engine", "stages"])
def test_every_module_lies_in_a_room(top: str) -> None:
    known = {room for floor in floors(top) for room in floor}
    faces = {"engine", "engine.__main__", "stages"}
    ours = [module for module in modules() if module.partition(".")[0] == top]
    assert {room_of(module) for module in ours if module not in faces} == known


@pytest.mark.parametrize("top", ["engine", "stages"])
def test_the_map_says_what_every_room_is(top: str) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- rooms: {top} -->\n(.*?)<!-- end -->", page, re.DOTALL)
    assert found
    rows = dict(re.findall(r"^\| `([\w/]+)/` \| (.*) \|$", found[1], re.MULTILINE))
    rooms = [room for floor in floors(top) for room in floor]
    assert rows == {room.replace(".", "/"): first_sentence_of(room) for room in rooms}


def first_sentence_of(room: str) -> str:
    told = ast.get_docstring(tree(room))
    assert told, f"{room} does not say what it is"
    return " ".join(told.partition("\n\n")[0].split())


@pytest.mark.parametrize("top", ["engine", "stages"])
def test_imports_go_down(top: str) -> None:
    heights = {room: height for height, floor in enumerate(floors(top)) for room in floor}
    wrong = [
        f"{module} imports {other}"
        for module in modules()
        if room_of(module) in heights
        for other, _ in imports(module)
        if room_of(other) in heights and room_of(other) != room_of(module)
        if heights[room_of(other)] >= heights[room_of(module)]
    ]
    assert not wrong


def test_nothing_runs_in_a_circle() -> None:
    graph = {module: {other for other, _ in imports(module)} - {module} for module in modules()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_engine_knows_of_nothing_built_on_it() -> None:
    wrong = [
        f"{module} imports {other}"
        for module in modules()
        for other, _ in imports(module)
        if TOPS.index(other.partition(".")[0]) > TOPS.index(module.partition(".")[0])
    ]
    assert not wrong


def test_stages_come_in_by_the_engines_door() -> None:
    wrong = [
        f"{module} imports {name or other} of {other}"
        for module in modules()
        if module.startswith("stages")
        for other, name in imports(module)
        if other.startswith("engine") and not is_public(other, name)
    ]
    assert not wrong


def is_public(module: str, name: str) -> bool:
    if module == "engine":
        return not name or name in engine.__all__
    return not name and module.removeprefix("engine.") in engine.__all__


def test_the_engines_door() -> None:
    assert sorted(engine.__all__) == sorted(" ".join(PUBLIC.values()).split())
    assert len(set(engine.__all__)) == len(engine.__all__)
    assert all(hasattr(engine, name) for name in engine.__all__)


def test_private_names_stay_in_their_modules() -> None:
    wrong = [
        f"{module} imports {name} of {other}"
        for module in modules()
        for other, name in imports(module)
        if is_private(name)
    ]
    for module in modules():
        known = own_private_names(module) | FOREIGN
        wrong += [
            f"{module}:{node.lineno} takes {node.attr} of {ast.unparse(node.value)}"
            for node in ast.walk(tree(module))
            if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in known
        ]
    assert not wrong


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name != "_"


def own_private_names(module: str) -> set[str]:
    """The private names that a module gives something itself."""
    own: set[str] = set()
    for node in ast.walk(tree(module)):
        match node:
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
            ):
                own.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                own.add(name)
            case ast.Constant(value=str(name)):  # __slots__
                own.add(name)
    return own


def test_no_two_public_classes_have_one_name() -> None:
    homes = defaultdict(list)
    for module in modules():
        for node in tree(module).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(module)
    assert not {name: where for name, where in homes.items() if len(where) > 1}


def test_files_fit_in_a_head_and_rooms_in_a_glance() -> None:
    lines = {m: len(p.read_text(encoding="utf-8").splitlines()) for m, p in modules().items()}
    assert not {module: count for module, count in lines.items() if count > MOST_LINES}
    sizes = Counter(room_of(m) for m, p in modules().items() if p.name != "__init__.py")
    del sizes["benchmarks"]
    assert not {room: count for room, count in sizes.items() if count > MOST_FILES}


def test_files_that_are_named_exist() -> None:
    named = re.compile(r"(?<![\w./-])((?:engine|stages|benchmarks)/[\w/]+\.(?:py|html|css|js))\b")
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    wrong = [
        f"{page.relative_to(ROOT)} names {name}"
        for page in (*pages, *modules().values(), *(ROOT / "tests" / "engine").rglob("*.py"))
        for name in named.findall(page.read_text(encoding="utf-8"))
        if not (ROOT / name).exists()
    ]
    assert not wrong


@pytest.mark.parametrize("top", ["engine", "stages"])
def test_the_tests_mirror_the_rooms(top: str) -> None:
    rooms = {room for floor in floors(top) for room in floor}
    folder = ROOT / "tests" / top
    mirrored = {
        ".".join((top, *path.parent.relative_to(folder).parts))
        for path in folder.rglob("test_*.py")
    }
    assert mirrored - rooms <= {top}
    assert not list(folder.glob("test_*.py"))
