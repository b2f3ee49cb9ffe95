"""The sizes of packages, as ``make numbers`` and TEACHING.md tell them."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

import environment_size
import needs

ROOT = Path(__file__).resolve().parents[1]
TEACHING = (ROOT / "notebooks" / "TEACHING.md").read_text(encoding="utf-8")


def plant_package(folder: Path, name: str, size_bytes: int) -> None:
    """Install a package of one file, which has a size but takes no room on the disk."""
    information = folder / f"{name}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (information / "RECORD").write_text(f"{name}.bin,,\n{name}-1.0.dist-info/METADATA,,\n")
    with (folder / f"{name}.bin").open("wb") as file:
        file.truncate(size_bytes)


def environment_rows(text: str) -> dict[str, tuple[float, str]]:
    """Read MB and use by package from the table."""
    rows = re.findall(r"^ +([\d,]+) +(lessons|others|) +(.+)$", text, re.MULTILINE)
    return {name: (float(megabytes.replace(",", "")), use) for megabytes, use, name in rows}


def test_the_environment_adds_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = environment_rows(environment_size.report())
    plant_package(tmp_path, "planted", 5_000_000_000)
    monkeypatch.syspath_prepend(tmp_path)
    rows = environment_rows(environment_size.report())
    assert next(iter(rows.items())) == ("planted", (5000, "others"))
    megabytes = [row[0] for row in rows.values()]
    largest, (rest, lessons, others, everything, _) = megabytes[:-5], megabytes[-5:]
    assert len(largest) == environment_size.SHOWN
    assert sum(largest) + rest == pytest.approx(everything, abs=10)  # each is rounded
    assert lessons + others == pytest.approx(everything, abs=2)
    assert everything - list(before.values())[-2][0] == pytest.approx(5000, abs=1)
    assert lessons == list(before.values())[-4][0]
    told = environment_size.package_megabytes(environment_size.PROJECT)
    assert lessons == pytest.approx(sum(told.values()), abs=1)
    assert (rows["openvino"][1], rows["playwright"][1]) == ("lessons", "others")


def test_the_packages_of_the_lessons_are_those_of_binder() -> None:
    """Without the extra, no test tool is needed; what lessons import is."""
    lessons = environment_size.package_megabytes(environment_size.PROJECT)
    assert {"keras", "openvino", "jupyterlab", "tornado"} < lessons.keys()
    assert lessons.keys().isdisjoint({"playwright", "ruff", "uv", "hypothesis", "pyperf"})


@needs.linux("the size of folders as du counts it")
def test_the_disk_is_counted_as_du_does(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(os.urandom(3_000_000))
    (tmp_path / "linked").hardlink_to(tmp_path / "folder" / "file")
    (tmp_path / "to").symlink_to(tmp_path / "folder")
    du = subprocess.run(["du", "-sk", tmp_path], capture_output=True, text=True, check=True).stdout
    assert environment_size.disk_megabytes(tmp_path) == pytest.approx(
        int(du.split()[0]) * 1024 / 1e6, abs=0.01
    )
    assert environment_size.disk_megabytes(tmp_path) > 3


def sizes_told(text: str) -> dict[str, float]:
    """Read MB by package from the table of TEACHING.md."""
    rows = re.findall(r"^\| `([\w-]+)` \| ([\d,]+) \|", text, re.MULTILINE)
    return {name: float(megabytes.replace(",", "")) for name, megabytes in rows}


def wrong_sizes(told: dict[str, float]) -> dict[str, str]:
    """Find the sizes that are more than a fifth off; versions of Python differ a little."""
    measured = environment_size.package_megabytes(environment_size.PROJECT)
    return {
        name: f"told {told.get(name)}, measured {measured.get(name, 0):,.0f}"
        for name in told.keys() | set(list(measured)[: len(told)])
        if not 0.8 * measured.get(name, 0) < told.get(name, 0) < 1.2 * measured.get(name, 0)
    }


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"),
    reason="the size of Binder's environment, for it has the packages of Linux on x86-64. Run the "
    "tests there",
)
def test_the_plan_tells_the_sizes_of_the_packages() -> None:
    told = sizes_told(TEACHING)
    assert len(told) == 10
    assert wrong_sizes(told) == {}
    assert wrong_sizes(told | {"numpy": 300.0}).keys() == {"numpy"}
    assert wrong_sizes({name: told[name] for name in list(told)[1:]}).keys() == {next(iter(told))}
