"""Reports are written whole, or not at all."""

from __future__ import annotations

import codecs
import errno
import io
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from concurra.reports import files


def test_a_file_is_written_in_utf_8(tmp_path: Path) -> None:
    """With the ends of lines as they are, and nothing else in the folder."""
    path = tmp_path / "report"
    files.write(path, ["é\n", "\r\n\u20ac"])
    assert path.read_bytes() == "é\n\r\n\u20ac".encode()
    assert os.listdir(tmp_path) == ["report"]
    files.write(str(path), ["new"])
    assert path.read_bytes() == b"new"


def test_what_fails_leaves_all_as_it_was(tmp_path: Path) -> None:
    """The old report is there, and nothing half done."""
    path = tmp_path / "report"
    path.write_text("old")

    def pieces() -> Iterator[str]:
        yield "new"
        assert path.read_text() == "old"
        raise KeyError("broken")

    with pytest.raises(KeyError):
        files.write(path, pieces())
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report"]


def test_an_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    """Not the one that is written first, which nobody knows."""
    path = str(tmp_path / "none" / "report")
    with pytest.raises(FileNotFoundError) as caught:
        files.write(path, ["x"])
    assert str(caught.value) == f"[Errno 2] No such file or directory: {path!r}"

    def full() -> Iterator[str]:
        yield "x"
        raise OSError(errno.ENOSPC, "No space left on device")

    path = str(tmp_path / "report")
    with pytest.raises(OSError) as full_disk:
        files.write(path, full())
    assert str(full_disk.value) == f"[Errno 28] No space left on device: {path!r}"
    assert os.listdir(tmp_path) == []
    if os.path.exists("/dev/full"):
        with pytest.raises(OSError, match="No space left on device: '/dev/full'$"):
            files.write("/dev/full", ["x"])


def test_a_file_has_the_rights_of_any_file(tmp_path: Path) -> None:
    """Those that the umask leaves."""
    (tmp_path / "plain").write_text("x")
    files.write(tmp_path / "report", ["x"])
    modes = {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}
    assert len(modes) == 1


def test_a_file_keeps_its_rights(tmp_path: Path) -> None:
    """What only its owner may read stays so when it is replaced."""
    path = tmp_path / "report"
    path.write_text("old")
    path.chmod(0o600)

    def pieces() -> Iterator[str]:
        (part,) = (each for each in tmp_path.iterdir() if each != path)
        yield oct(part.stat().st_mode)[-3:]

    files.write(path, pieces())
    assert path.read_text() == "600"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_stays_one(tmp_path: Path) -> None:
    """What it leads to is replaced."""
    (tmp_path / "link").symlink_to("report")
    files.write(tmp_path / "link", ["x"])
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "report").read_text() == "x"


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    """It is not replaced, as ``/dev/stdout`` is not."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append(path.read_text()))
    reader.start()
    files.write(path, ["x", "y"])
    reader.join(20)
    assert found == ["xy"] and path.is_fifo()


def test_open_files_are_written_to(tmp_path: Path) -> None:
    """Whether they take text or bytes; they stay open."""
    text, data = io.StringIO(), io.BytesIO()
    files.write(text, ["é"])
    files.write(data, ["é"])
    assert (text.getvalue(), data.getvalue()) == ("é", "é".encode())
    with open(tmp_path / "report", "wb") as file:
        files.write(file, ["é"])
    assert (tmp_path / "report").read_bytes() == "é".encode()
    with open(tmp_path / "report", "wb") as file:  # as `codecs.open` makes it: of text
        ways = codecs.getreader("utf-8"), codecs.getwriter("utf-8")
        files.write(codecs.StreamReaderWriter(file, *ways), ["ü"])
    assert (tmp_path / "report").read_bytes() == "ü".encode()


@pytest.mark.parametrize("wrong", [None, 1, b"report", ["report"]])
def test_what_is_no_file(wrong: Any) -> None:
    """A number is no descriptor here."""
    for use in (lambda: files.write(wrong, ["x"]), lambda: files.read(wrong)):
        with pytest.raises(TypeError, match="file must be a path or an open file, not"):
            use()


@pytest.mark.parametrize("wrong", ["", "a\0b"])
def test_what_is_no_path(wrong: str) -> None:
    """Nothing is written."""
    with pytest.raises(ValueError, match="file must be a path or an open file, not"):
        files.write(wrong, ["x"])


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    """The error is the operating system's."""
    with pytest.raises(FileNotFoundError):
        files.write(tmp_path / "none" / "report", ["x"])
    with pytest.raises(IsADirectoryError):
        files.write(tmp_path, ["x"])
