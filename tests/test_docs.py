"""Every page tells the truth: its programs run, its outputs and links are right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import concurra
from tests.helpers import run_script
from tests.markdown import (
    MarkdownError,
    Program,
    anchors,
    blocks,
    entries,
    inclusions,
    local_links,
    normalised,
    programs,
)

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md"), ROOT / "examples/README.md"]
)

every_page = pytest.mark.parametrize(
    "page", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES]
)


def all_programs() -> list[object]:
    """One parameter for each program; pages that cannot be read are told elsewhere."""
    found: list[object] = []
    for page in PAGES:
        try:
            on_page = programs(page.read_text("utf-8"))
        except MarkdownError:
            continue
        name = page.relative_to(ROOT).as_posix()
        found += [pytest.param(page, p, id=f"{name}:{p.line}") for p in on_page]
    return found


def test_there_is_a_readme() -> None:
    """Without it the tests of this file would pass by doing nothing."""
    assert ROOT / "README.md" in PAGES


@every_page
def test_a_page_can_be_read(page: Path) -> None:
    """Blocks end, and their languages and marks are known."""
    blocks(page.read_text("utf-8"))


@pytest.mark.parametrize(("page", "program"), all_programs())
@pytest.mark.hang_after(90)
def test_a_program_runs_and_prints_what_the_page_says(
    page: Path, program: Program
) -> None:
    """In a fresh interpreter, in an empty folder, leaving no process behind."""
    for module in program.needs:
        pytest.importorskip(module)
    done = run_script(program.source, check=True, timeout=60, name=f"{page.name}.py")
    if program.output is not None:
        printed = done.stdout.partition(program.marker + "\n")[2]
        assert normalised(printed) == normalised(program.output)


def file_behind(page: Path, link: str) -> Path:
    """The file that a link leads to. The package may be installed elsewhere."""
    if not link:
        return page
    base = ROOT if link.startswith("/") else page.parent
    target = (base / link.lstrip("/")).resolve()
    assert ROOT in [target, *target.parents], f"{link} leads out of the project"
    inside = target.relative_to(ROOT)
    if inside.parts[:1] == ("concurra",):
        return Path(concurra.__file__).parent.joinpath(*inside.parts[1:])
    return target


@every_page
def test_local_links_lead_somewhere(page: Path) -> None:
    """To a file that exists, and to a heading of it where one is named."""
    broken = []
    for link in local_links(page.read_text("utf-8")):
        path, _, anchor = link.partition("#")
        target = file_behind(page, path)
        if not target.exists():
            broken.append(link)
        elif anchor and target.suffix == ".md":
            if anchor not in anchors(target.read_text("utf-8")):
                broken.append(link)
    assert not broken


def test_every_page_is_in_the_contents() -> None:
    """Once; and what the index includes begins and ends where it says."""
    index = ROOT / "docs" / "index.md"
    text = index.read_text("utf-8")
    listed = [index.parent / entry for entry in entries(text)]
    pages = [page for page in PAGES if page.is_relative_to(index.parent)]
    assert sorted(listed) == [page for page in pages if page != index]
    for included, ends in inclusions(text).items():
        there = "\n" + (index.parent / included).read_text("utf-8")
        assert [there.count(f"\n{end}\n") for end in ends] == [1] * len(ends)


def test_the_readme_has_its_two_commands() -> None:
    """One line to install and run a job, one line to run the tests; CI uses them."""
    text = (ROOT / "README.md").read_text("utf-8")
    lines = text.splitlines()
    assert lines.count("## Two commands") == 1
    start = lines.index("## Two commands") + 1
    ends = [n for n, line in enumerate(lines) if line.startswith("## ") and n > start]
    section = "\n".join(lines[start : min(ends, default=len(lines))])
    commands = [block.text for block in blocks(section) if block.language == "bash"]
    assert [text.count("\n") for text in commands] == [1, 1]


def test_the_reference_lists_each_method_of_the_runner() -> None:
    """In one line, for those who read the file and not the site."""
    text = (ROOT / "docs" / "reference.md").read_text("utf-8")
    section = text[text.index("\n### Methods\n") : text.index("\n### Attributes\n")]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    listed = " ".join(row.split(" | ")[0] for row in rows)
    for name in dir(concurra.TaskRunner):
        if not name.startswith("_"):
            assert re.search(rf"`(await |async for )?{name}\b", listed), name
