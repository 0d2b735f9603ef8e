"""What is installed is what was meant to be shipped."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import pytest

import concurra
from tests.markdown import local_links

ROOT = Path(__file__).resolve().parent.parent

#: What stands at the top of the project, beside files that begin with a dot.
TOP = {"LICENSE", "README.md", "concurra", "docs", "examples", "pyproject.toml"}
TOP |= {"tests"}

#: What tools leave there (see `.gitignore`), and what a source distribution adds.
LEFT = re.compile(r"\..*|build|dist|htmlcov|venv|__pycache__|.*\.egg-info|PKG-INFO")

URL = "https://github.com/Concurra/concurra"

#: Where pictures are.
RAW = "https://raw.githubusercontent.com/Concurra/concurra/main"


def installed() -> metadata.Distribution:
    """The distribution that pip has installed."""
    return metadata.distribution("concurra")


def required(extra: str = "") -> list[str]:
    """The names of what is required, by the package or by one of its extras."""
    names = []
    for line in installed().requires or []:
        mark = re.search(r"""extra == ['"]([\w-]+)['"]""", line)
        if (mark[1] if mark else "") == extra:
            names.append(re.match(r"[\w.-]+", line)[0])  # type: ignore[index]
    return sorted(names)


def test_the_version_is_the_one_of_the_package() -> None:
    """In the metadata as in `concurra.__version__`."""
    assert installed().version == concurra.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", concurra.__version__)


def test_the_version_has_one_source() -> None:
    """`pyproject.toml` points to the package and has no number of its own."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    assert 'dynamic = ["version", ' in text
    assert '[tool.hatch.version]\npath = "concurra/__init__.py"' in text
    assert concurra.__version__ not in text


def test_the_version_is_in_the_changelog() -> None:
    """Whoever gets a version can read what it has changed."""
    text = (ROOT / "docs" / "changelog.md").read_text("utf-8")
    assert f"\n## {concurra.__version__}" in text


def test_the_metadata_names_what_users_rely_on() -> None:
    """Name, licence, Pythons, and who stands behind it."""
    fields = installed().metadata
    assert fields["Name"] == "concurra"
    assert fields["License-Expression"] == "MIT"
    assert fields["Requires-Python"] == ">=3.9"
    assert fields["Author"] == "concurra maintainers"
    assert fields["Description-Content-Type"] == "text/markdown"
    assert "Typing :: Typed" in fields.get_all("Classifier", [])


def test_the_pythons_that_are_promised() -> None:
    """The oldest that is named is the oldest that is let in; CI tests each."""
    classifiers = installed().metadata.get_all("Classifier", [])
    found = [re.fullmatch(r".* :: Python :: 3\.(\d+)", line) for line in classifiers]
    versions = [int(match[1]) for match in found if match]
    assert versions == list(range(9, versions[-1] + 1))
    workflow = ROOT / ".github" / "workflows" / "ci.yml"
    tested = ", ".join(f'"3.{minor}"' for minor in versions)
    assert f"python: [{tested}]" in workflow.read_text("utf-8")
    environments = ", ".join(f'"py3{minor}"' for minor in versions)
    assert environments in (ROOT / "pyproject.toml").read_text("utf-8")


def test_the_metadata_leads_to_the_project() -> None:
    """Indexes show these links beside the description."""
    pairs = installed().metadata.get_all("Project-URL", [])
    urls = dict(pair.split(", ", 1) for pair in pairs)
    assert set(urls) == {"Homepage", "Documentation", "Source", "Changelog"}
    assert all(url == URL or url.startswith(f"{URL}/") for url in urls.values())
    for name in ("Documentation", "Changelog"):
        path = urls[name].split("/main/")[1]
        assert (ROOT / path).exists(), path


def test_tabulate_is_all_that_is_needed_to_run() -> None:
    """Whatever else is required belongs to an extra."""
    needed = [line for line in installed().requires or [] if "extra ==" not in line]
    assert needed == ["tabulate>=0.8.10"]


def test_extras_are_what_they_say() -> None:
    """Each is enough for what it is called after; `dev` adds the checkers to `test`."""
    extras = set(installed().metadata.get_all("Provides-Extra", []))
    assert extras == {
        *("test", "browser", "dev", "docs", "benchmarks"),
        *("wide", "report", "dask", "environments"),
    }
    assert required("test") == [
        "anyio",
        "hypothesis",
        "jinja2",
        "junitparser",
        "pytest",
        "pytest-xdist",
        "uvloop",
    ]
    assert required("docs") == ["furo", "myst-parser", "sphinx"]
    # The build may write `concurra[test]` out, or leave it as it is.
    tests = {"concurra", *required("test")}
    assert set(required("browser")) - tests == {"playwright"}
    assert required("report") == ["jinja2"]
    checkers = {"black", "flake8", "mypy", "types-tabulate"}
    assert set(required("dev")) - tests == checkers
    assert {"pebble", "joblib", "mpire"} <= set(required("benchmarks"))


def test_nothing_but_the_package_is_installed() -> None:
    """No tests, no examples; they would be top-level names in everybody's Python."""
    top = {Path(str(file)).parts[0] for file in installed().files or []}
    allowed = r"concurra|concurra-.+\.dist-info|_editable_impl_concurra.pth|__pycache__"
    assert top and not [name for name in top if not re.fullmatch(allowed, name)]


def test_the_licence_is_shipped() -> None:
    """It asks for that itself."""
    files = [str(file) for file in installed().files or []]
    assert [name for name in files if re.search(r"\.dist-info\b.*\bLICENSE$", name)]


def test_the_parts_of_the_page_are_shipped() -> None:
    """Its template, style and scripts are no Python, and needed all the same."""
    assets = resources.files("concurra.reports.page").joinpath("assets")
    names = {asset.name for asset in assets.iterdir()}
    assert {"page.html", "page.css", "base.js", "main.js"} <= names


def test_types_are_shipped() -> None:
    """Type checkers believe annotations only where `py.typed` lies beside them."""
    assert resources.files("concurra").joinpath("py.typed").is_file()


def test_only_the_standard_library_and_tabulate_are_imported() -> None:
    """`tabulate` itself not before a report is made: importing has to be cheap."""
    code = "import sys, concurra; print(*{name.split('.')[0] for name in sys.modules})"
    bare = "import sys; print(*{name.split('.')[0] for name in sys.modules})"
    outputs = [
        subprocess.run(
            [sys.executable, "-c", source],
            cwd=Path(concurra.__file__).parent.parent,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=50,
        ).stdout.split()
        for source in (code, bare)
    ]
    added = set(outputs[0]) - set(outputs[1])
    if sys.version_info >= (3, 10):
        assert added - set(sys.stdlib_module_names) == {"concurra"}
    assert "concurra" in added
    heavy = {"asyncio", "inspect", "logging", "multiprocessing", "subprocess"}
    assert not added & {*heavy, "tabulate", "typing_extensions", "weakref"}


def test_the_top_of_the_project_is_tidy() -> None:
    """Everything has its place in one of a few folders."""
    found = {path.name for path in ROOT.iterdir() if not LEFT.fullmatch(path.name)}
    assert found | {"concurra"} == TOP


def test_a_source_distribution_is_whole() -> None:
    """Its tests and its own build read the README; the backend adds the rest itself."""
    table = (ROOT / "pyproject.toml").read_text("utf-8").partition("targets.sdist]")[2]
    listed = re.findall(r'"/([^"]+)"', table.partition("]")[0])
    assert set(listed) == TOP - {"LICENSE", "pyproject.toml"} | {".github"}


def test_the_readme_of_an_index_leads_to_the_repository() -> None:
    """It is the README, but what is a path there is an address here."""
    data: Any = installed().metadata
    description = data.get_payload() or data["Description"]  # from Python 3.15 on
    readme = (ROOT / "README.md").read_text("utf-8")
    links = local_links(readme)
    assert "docs/tutorial.md" in links
    assert local_links(description) == []
    for link in links:
        assert (
            f"{URL}/blob/main/{link})" in description or f"{RAW}/{link})" in description
        )
    for base in (f"{URL}/blob/main/", f"{RAW}/"):
        description = description.replace(f"]({base}", "](")
    assert description.strip() == readme.strip()


@pytest.mark.parametrize("name", ["README.md", "LICENSE"])
def test_what_indexes_and_lawyers_read_is_there(name: str) -> None:
    """And not empty."""
    assert (ROOT / name).read_text("utf-8").strip()
