"""The wheel, built from plugins/ alone: whole, typed, importable without the rest of this repository."""

import configparser
import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from lakehouse import __version__

PLUGINS = Path(__file__).parents[3] / "plugins"
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
IMPORT = """
import importlib, pkgutil, sys
sys.path.insert(0, sys.argv[1])
import lakehouse
assert lakehouse.__file__.startswith(sys.argv[1]), lakehouse.__file__
for module in pkgutil.walk_packages(lakehouse.__path__, "lakehouse."):
    importlib.import_module(module.name)
foreign = {name.split(".")[0] for name in sys.modules} & {"embedded", "dags", "tests", "lakehouse_plugin"}
assert not foreign, foreign
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built in a copy, without isolation: the build's one requirement is in the environment."""
    source = tmp_path_factory.mktemp("source") / "plugins"
    shutil.copytree(PLUGINS, source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-c", BUILD, str(target)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=120)
    (built,) = target.glob("*.whl")
    return built


def test_it_has_every_module_and_its_types(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {str(path.relative_to(PLUGINS)) for path in (PLUGINS / "lakehouse").rglob("*.py")}
    assert wanted <= names and "lakehouse/py.typed" in names
    assert {name.split("/")[0] for name in names} == {
        "lakehouse",
        f"airflow_provider_lakehouse-{__version__}.dist-info",
    }


def test_its_metadata_names_version_readme_and_entry_points(wheel):
    with zipfile.ZipFile(wheel) as archive:
        folder = f"airflow_provider_lakehouse-{__version__}.dist-info"
        metadata = Parser().parsestr(archive.read(f"{folder}/METADATA").decode())
        points = configparser.ConfigParser()
        points.read_string(archive.read(f"{folder}/entry_points.txt").decode())
    assert metadata["Name"] == "airflow-provider-lakehouse" and metadata["Version"] == __version__
    assert metadata["Description-Content-Type"] == "text/markdown" and "## Sensors" in metadata.get_payload()
    assert "Framework :: Apache Airflow :: Provider" in metadata.get_all("Classifier")
    assert dict(points["apache_airflow_provider"]) == {"provider_info": "lakehouse.provider:get_provider_info"}
    assert dict(points["console_scripts"]) == {"lakehouse": "lakehouse.cli:main"}


def test_every_module_can_be_imported_from_the_wheel_alone(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "LAKEHOUSE_INCLUDE")}
    environment |= {"AIRFLOW_HOME": str(tmp_path / "airflow"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    command = [sys.executable, "-P", "-c", IMPORT, str(tmp_path / "site")]
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
    assert found.returncode == 0, found.stderr[-3000:]


def test_the_changelog_begins_with_this_version():
    newest = re.search(r"^## (\S+)$", (PLUGINS / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest and newest[1] == __version__
