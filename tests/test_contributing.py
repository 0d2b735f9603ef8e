"""What contributors are told about the house is so."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import concurra
from tests.markdown import anchors, blocks, local_links

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(concurra.__file__).resolve().parent
GITHUB = ROOT / ".github"
PAGES = sorted(GITHUB.glob("*.md"))
CONTRIBUTING = (GITHUB / "CONTRIBUTING.md").read_text("utf-8")
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))


def rooms() -> dict[str, set[str]]:
    """The table: for each module, in order, those that it may import."""
    section = CONTRIBUTING.split("\n| file | its one job | may import |\n")[1]
    rows: dict[str, set[str]] = {}
    for line in section.split("\n\n")[0].splitlines()[1:]:
        file, _, allowed = (cell.strip() for cell in line.strip("|").split("|"))
        rows[module(file.strip("`"))] = set(re.findall(r"`([\w.]+)`", allowed))
    return rows


def module(file: str) -> str:
    """The name of a file's module within the package; "" for the package's own."""
    name = re.sub(r"/?__init__$", "", file.partition(".py")[0])
    return name.replace("/", ".")


def imports(path: Path) -> Iterator[str]:
    """The modules of the package that a file imports, when it runs."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    folder = path.relative_to(PACKAGE).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = folder[: len(folder) + 1 - node.level]
            stem = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:  # a module, or what is in one
                name = f"{stem}.{alias.name}".lstrip(".")
                yield name if exists(name) else stem


def exists(name: str) -> bool:
    """Whether the package has that module."""
    path = PACKAGE.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


FILES = {
    module(path.relative_to(PACKAGE).as_posix()): path for path in PACKAGE.rglob("*.py")
}


def test_every_room_is_in_the_table() -> None:
    """And none that does not exist."""
    assert set(rooms()) == set(FILES)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_room_imports_what_it_may(name: str) -> None:
    """What its row says, all of which is further down in the table."""
    order = list(rooms())
    allowed = rooms()[name]
    imported = set(imports(FILES[name]))
    assert imported <= allowed
    if name:  # or else it imports much only when it is asked for that
        assert imported == allowed
    assert allowed <= set(order[order.index(name) + 1 :])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    """Its blocks can be read as well."""
    text = page.read_text("utf-8")
    blocks(text)
    for link in local_links(text):
        path, _, anchor = link.partition("#")
        assert not path or (page.parent / path).exists(), link
        assert not anchor or path or anchor in anchors(text), link


def test_files_that_contributors_are_sent_to_exist() -> None:
    """Those whose name begins with a folder."""
    named = set(re.findall(r"\b(?:tests|docs)/[\w./]*\w", CONTRIBUTING))
    assert len(named) > 10
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_rooms_that_contributors_are_sent_to_exist() -> None:
    """Those of a change, and the tests beside the one that is named with its folder."""
    section = CONTRIBUTING.split("\n## Where a change goes\n\n")[1].split("\n\n")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines()[2:]]
    files = re.findall(r"`([\w/]+\.py)`", "".join(where for _, where, _ in rows))
    assert len(files) > 40
    assert [name for name in files if not (PACKAGE / name).exists()] == []
    tests = re.findall(r"`(test_\w+\.py)`", "".join(test for _, _, test in rows))
    assert [name for name in tests if not [*ROOT.glob(f"tests/*/{name}")]] == []


def test_modules_that_contributors_run_exist() -> None:
    """``python -m tests.…`` is one of ours."""
    named = set(re.findall(r"python -m (tests[\w.]+)", CONTRIBUTING))
    assert named == {"tests.benchmarks", "tests.stress"}
    for name in named:
        assert ROOT.joinpath(*name.split("."), "__main__.py").exists()


def test_actions_are_pinned() -> None:
    """To a commit, with the version beside it; everywhere to the same."""
    text = "\n".join(path.read_text("utf-8") for path in WORKFLOWS)
    pins: dict[str, set[str]] = {}
    for action, pin in re.findall(r"uses: ([^@\s]+)@(.*)", text):
        assert re.fullmatch(r"[0-9a-f]{40} # v\d+\.\d+\.\d+", pin), action
        pins.setdefault(action, set()).add(pin)
    assert pins and all(len(each) == 1 for each in pins.values()), pins


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_have_few_rights(workflow: Path) -> None:
    """None by default, and what a job needs is to read, or to say who it is."""
    text = workflow.read_text("utf-8")
    assert "\npermissions: {}\n" in text
    rights = re.findall(r"^ {6}([\w-]+: (?:read|write))\b", text, re.MULTILINE)
    assert set(rights) <= {"contents: read", "id-token: write"}


def test_the_gate_needs_every_job() -> None:
    """A job that nothing waits for protects nothing."""
    text = (GITHUB / "workflows" / "ci.yml").read_text("utf-8")
    jobs = re.findall(r"^  ([\w-]+):$", text.partition("\njobs:\n")[2], re.MULTILINE)
    needs = re.search(r"  gate:\n    if: always\(\)\n    needs: \[(.*)\]", text)
    assert needs and [*needs[1].split(", "), "gate"] == jobs
