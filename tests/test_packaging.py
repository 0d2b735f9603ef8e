"""What is installed is what was meant to be shipped."""

from __future__ import annotations

import re
from importlib import metadata, resources
from pathlib import Path

import concurra

ROOT = Path(__file__).resolve().parent.parent


def installed() -> metadata.Distribution:
    """The distribution that pip has installed.

    An editable install leaves `concurra.egg-info` in the working directory too, which
    is found first.
    """
    found = metadata.distributions(name="concurra")
    return next(each for each in found if each.read_text("WHEEL") is not None)


def test_the_version_is_the_one_of_the_package() -> None:
    """In the metadata as in `concurra.__version__`."""
    assert installed().version == concurra.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", concurra.__version__)


def test_the_version_has_one_source() -> None:
    """`pyproject.toml` points to the package and has no number of its own."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    assert 'dynamic = ["version"]' in text
    assert 'version = { attr = "concurra.__version__" }' in text
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
    allowed = r"concurra|concurra-.+\.dist-info|__editable__.*|__pycache__"
    assert top and not [name for name in top if not re.fullmatch(allowed, name)]


def test_types_are_shipped() -> None:
    """Type checkers believe annotations only where `py.typed` lies beside them."""
    assert resources.files("concurra").joinpath("py.typed").is_file()
