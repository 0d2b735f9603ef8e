"""Reads our documentation pages: fenced blocks, headings and links.

    <!-- continues -->      before a block: it goes on from the block before it
    ```python
    print("hello")
    ```
    <!-- output -->         before a text block: what the program above it prints
    ```text
    hello
    ```
    <!-- needs joblib -->   before a block: it runs only where this is installed

There is no way to keep a block of Python from being run. Directives of MyST, such as
```{toctree}, are for Sphinx; what they name is looked after here as well.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from urllib.parse import unquote

LANGUAGES = {"bash", "ini", "json", "mermaid", "python", "text", "toml", "yaml"}
DIRECTIVES = {"eval-rst", "include", "toctree"}

_FENCE = re.compile(r"(?P<indent>\s*)(?P<fence>`{3,}|~{3,})\s*(?P<info>.*?)\s*$")
_DIRECTIVE = re.compile(r"\{(?P<name>[\w-]+)\}(?: (?P<argument>\S+))?")
_END = re.compile(r'^:(?:start-after|end-before): "(.*)"$', re.MULTILINE)
_COMMENT = re.compile(r"\s*<!--\s*(.*?)\s*-->\s*$")
_HEADING = re.compile(r"#{1,6}\s+(.*?)(?:\s+#+)?\s*$")
_LINKS = (
    re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)"),  # [text](target "title")
    re.compile(r"^\s*\[[^\]]+\]:\s*<?([^\s>]+)>?", re.MULTILINE),  # [name]: target
    re.compile(r"<[^>]+\b(?:href|src)=[\"']([^\"']+)[\"']"),
)
_ANCHOR = re.compile(r"<[^>]+\b(?:id|name)=[\"']([^\"']+)[\"']")


@dataclass(frozen=True)
class Block:
    """A fenced block. `line` is that of its opening fence, counted from 1."""

    line: int
    language: str
    text: str
    comments: tuple[str, ...]  # directly before it, nothing but blank lines between
    after: Block | None  # the block before it, if nothing else stands between them


class MarkdownError(Exception):
    """The page cannot be read as it was meant."""


def _split(text: str) -> tuple[list[Block], list[str]]:
    """The blocks of a page, and its lines, empty where a block is."""
    blocks: list[Block] = []
    prose: list[str] = []
    comments: list[str] = []
    after: Block | None = None
    lines = iter(enumerate(text.splitlines(), start=1))
    for number, line in lines:
        if not (fence := _FENCE.match(line)):
            prose.append(line)
            if comment := _COMMENT.match(line):
                comments.append(comment[1])
            elif re.match(r"\s*>\s*(```|~~~)", line):
                raise MarkdownError(f"line {number}: a block inside a quotation")
            elif line.strip():
                comments, after = [], None
            continue
        content: list[str] = []
        prose.append("")
        for _, inner in lines:
            prose.append("")
            if re.fullmatch(rf"\s*{fence['fence']}+\s*", inner):
                break
            cut = min(len(fence["indent"]), len(inner) - len(inner.lstrip()))
            content.append(inner[cut:] + "\n")
        else:
            raise MarkdownError(f"line {number}: this block has no end")
        after = Block(number, fence["info"], "".join(content), tuple(comments), after)
        blocks.append(after)
        comments = []
    return blocks, prose


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page, checked for what would silently do nothing."""
    found, prose = _split(text)
    last: Block | None = None
    for block in found:
        where = f"line {block.line}: "
        directive = _DIRECTIVE.fullmatch(block.language)
        if block.language not in LANGUAGES and not (
            directive and directive["name"] in DIRECTIVES
        ):
            raise MarkdownError(f"{where}unknown language {block.language!r}")
        follows_python = block.after is not None and block.after.language == "python"
        if "continues" in block.comments and (
            block.language != "python" or last is None
        ):
            raise MarkdownError(f"{where}nothing to continue")
        if "output" in block.comments and not (
            block.language == "text" and follows_python
        ):
            raise MarkdownError(f"{where}the output of what?")
        if (
            block.language == "text"
            and follows_python
            and "output" not in block.comments
        ):
            raise MarkdownError(f"{where}looks like output and is not marked as such")
        if _needs(block) and block.language != "python":
            raise MarkdownError(f"{where}only Python needs a module")
        if block.language == "python":
            last = block
    used = [_mark(comment) for block in found for comment in block.comments]
    seen = [_mark(m[1]) for line in prose if (m := _COMMENT.match(line))]
    for mark in ("continues", "output", "needs"):
        if seen.count(mark) != used.count(mark):
            raise MarkdownError(f"a comment {mark!r} that is not before a block")
    return found


def _mark(comment: str) -> str:
    return comment.partition(" ")[0]


def _needs(block: Block) -> list[str]:
    """The modules that a block of Python imports, and that may not be installed."""
    return [c.split()[1] for c in block.comments if c.startswith("needs ")]


def entries(text: str) -> list[str]:
    """What the tables of contents of a page list, as file names."""
    lines = [
        line.strip()
        for block in blocks(text)
        if block.language == "{toctree}"
        for line in block.text.splitlines()
    ]
    return [f"{line}.md" for line in lines if line and not line.startswith(":")]


def inclusions(text: str) -> dict[str, list[str]]:
    """The files that a page includes, and the lines between which they are."""
    found: dict[str, list[str]] = {}
    for block in blocks(text):
        directive = _DIRECTIVE.fullmatch(block.language)
        if directive and directive["name"] == "include":
            found[directive["argument"]] = _END.findall(block.text)
    return found


@dataclass(frozen=True)
class Program:
    """A block of Python with the blocks that it continues."""

    line: int
    source: str  # each line at its line of the page, so that tracebacks are right
    marker: str  # is printed on a line of its own before the last block runs
    output: str | None
    needs: tuple[str, ...] = ()  # modules that may not be installed


def programs(text: str) -> list[Program]:
    """Each block of Python on a page as a program that can be run alone."""
    page = blocks(text)
    found: list[Program] = []
    chain: list[Block] = []
    for index, block in enumerate(page):
        if block.language != "python":
            continue
        chain = [*chain, block] if "continues" in block.comments else [block]
        marker = f"--- block at line {block.line} ---"
        lines = [""] * len(text.splitlines())
        for part in chain:
            content = part.text.splitlines()
            lines[part.line : part.line + len(content)] = content
        # Workers that import the main module anew must not print it again.
        lines[block.line - 1] = (
            f"if __name__ == '__main__': print({marker!r}, flush=True)"
        )
        following = page[index + 1] if index + 1 < len(page) else None
        is_output = following is not None and "output" in following.comments
        found.append(
            Program(
                line=block.line,
                source="\n".join(lines).rstrip() + "\n",
                marker=marker,
                output=following.text if following and is_output else None,
                needs=tuple(module for part in chain for module in _needs(part)),
            )
        )
    return found


_VARYING = (
    (r"\b\d+(\.\d+)? min \d+(\.\d+)? sec\b", "<time>"),
    (r"\b\d+(\.\d+)? ?(s|sec|seconds|ms|min)\b", "<time>"),
    (r"('duration_seconds'|\"duration_seconds\"): \d+(\.\d+)?", r"\1: <time>"),
    (r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d([.,]\d+)?", "<moment>"),
    (r"\b\d{4}-\d\d-\d\d\b", "<moment>"),
    (r"\b\d\d:\d\d:\d\d([.,]\d+)?\b", "<moment>"),
    (r"\b0x[0-9a-f]+\b", "<address>"),
    (r"File \"[^\"]+\", line \d+", "File <place>"),
    (r"^[ ~^]*[~^]+[ ~^]*\n", ""),  # newer Pythons underline the culprit
    # Tables are as wide as what they hold.
    (r"-{2,}", "--"),
    (r"={2,}", "=="),
    (r"(?<=\S) {2,}", " "),
    (r" +$", ""),
)


def normalised(output: str) -> str:
    """The output without what differs from run to run."""
    for pattern, replacement in _VARYING:
        output = re.sub(pattern, replacement, output, flags=re.MULTILINE)
    return output.strip() + "\n"


def _slug(heading: str) -> str:
    """The anchor that GitHub makes of a heading, before it counts repetitions."""
    heading = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", heading)
    heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    heading = re.sub(r"<[^>]+>", "", heading)
    heading = re.sub(r"(?<!\w)_(.+?)_(?!\w)", r"\1", heading)
    kept = [
        letter
        for letter in heading.strip().lower()
        if letter in "- " or unicodedata.category(letter)[0] in "LMN" or letter == "_"
    ]
    return "".join(kept).replace(" ", "-")


def anchors(text: str) -> set[str]:
    """Every anchor that a link to this page may name."""
    _, prose = _split(text)
    found: set[str] = set()
    for line in prose:
        found.update(_ANCHOR.findall(line))
        if heading := _HEADING.match(line):
            slug = _slug(heading[1])
            number = 0
            while (numbered := f"{slug}-{number}" if number else slug) in found:
                number += 1
            found.add(numbered)
    return found


def local_links(text: str) -> list[str]:
    """The targets of all links of a page, those to other sites excepted."""
    _, prose = _split(text)
    plain = re.sub(r"(`+).+?\1", "", "\n".join(prose))
    targets = [target for pattern in _LINKS for target in pattern.findall(plain)]
    return [unquote(t) for t in targets if not re.match(r"[a-z][a-z0-9+.-]*:|//", t)]
