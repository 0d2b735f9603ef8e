"""What is installed is what was meant to be shipped."""

from __future__ import annotations

import re
from importlib import metadata, resources
from pathlib import Path

import concurra

ROOT = Path(__file__).resolve().parent.parent


def installed() -> metadata.Distribution:
    """The distribution that pip has installed."""
    return metadata.distribution("concurra")


def test_the_version_is_the_one_of_the_package() -> None:
    """In the metadata as in `concurra.__version__`."""
    assert installed().version == concurra.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", concurra.__version__)


def test_the_version_has_one_source() -> None:
    """`pyproject.toml` points to the package and has no number of its own."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    assert 'dynamic = ["version"]' in text
    assert '[tool.hatch.version]\npath = "concurra/__init__.py"' in text
    assert concurra.__version__ not in text


def test_the_metadata_names_what_users_rely_on() -> None:
    """Name, licence, Pythons, and who stands behind it."""
    fields = installed().metadata
    assert fields["Name"] == "concurra"
    assert fields["License-Expression"] == "MIT"
    assert fields["Requires-Python"] == ">=3.9"
    assert fields["Author"] == "concurra maintainers"
    assert fields["Description-Content-Type"] == "text/markdown"
    assert "Typing :: Typed" in fields.get_all("Classifier", [])


def test_tabulate_is_all_that_is_needed_to_run() -> None:
    """Whatever else is required belongs to an extra."""
    needed = [line for line in installed().requires or [] if "extra ==" not in line]
    assert needed == ["tabulate>=0.8.10"]


def test_nothing_but_the_package_is_installed() -> None:
    """No tests, no examples; they would be top-level names in everybody's Python."""
    top = {Path(str(file)).parts[0] for file in installed().files or []}
    allowed = r"concurra|concurra-.+\.dist-info|_editable_impl_concurra.pth|__pycache__"
    assert top and not [name for name in top if not re.fullmatch(allowed, name)]


def test_types_are_shipped() -> None:
    """Type checkers believe annotations only where `py.typed` lies beside them."""
    assert resources.files("concurra").joinpath("py.typed").is_file()
