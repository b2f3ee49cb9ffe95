"""The report of a machine names what decides the last digits, and runs once more what failed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import machine_report
from conftest import ROOT
from helpers.lessons import SEED_SHIFT


def test_the_machine_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SEED_SHIFT, "5")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    monkeypatch.setenv("SECRET_TOKEN", "not this one")
    found = machine_report.machine()
    for name in ("processor", "instructions", "cores", "memory", "system", "python", "language"):
        assert found[name]
    assert {"keras", "numpy", "onnxruntime", "openvino"} <= set(found)
    assert {"tensorflow_cpu", "tensorflow"} & set(found)
    assert f"{SEED_SHIFT}=5" in found["variables"]
    assert "ONEDNN_MAX_CPU_ISA=AVX2" in found["variables"]
    assert "not this one" not in " ".join(found.values())


def test_a_notebook_is_run_as_a_whole_and_a_test_alone(tmp_path: Path) -> None:
    cache = tmp_path / ".pytest_cache" / "v" / "cache"
    cache.mkdir(parents=True)
    names = ["notebooks/a.ipynb::Cell 3", "notebooks/a.ipynb::Cell 5", "tests/test_a.py::test[x y]"]
    (cache / "lastfailed").write_text(json.dumps(dict.fromkeys(names, True)))
    assert machine_report.last_failed(tmp_path) == [
        "notebooks/a.ipynb",
        "tests/test_a.py::test[x y]",
    ]
    assert machine_report.last_failed(tmp_path / "nothing") == []


def test_what_failed_is_run_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "test_small.py").write_text("def test_it():\n    assert 1 == 2\n")
    monkeypatch.setattr(machine_report, "ROOT", tmp_path)
    monkeypatch.setattr(machine_report, "last_failed", lambda: ["test_small.py::test_it"])
    assert machine_report.main() == 1
    printed = capfd.readouterr().out
    assert "failed in the last run: 1\n  test_small.py::test_it" in printed
    assert "assert 1 == 2" in printed


def test_nothing_failed() -> None:
    command = "import machine_report as m; m.last_failed = lambda: []; raise SystemExit(m.main())"
    result = subprocess.run(
        [sys.executable, "-c", command],
        cwd=ROOT / "tools",
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.rstrip().endswith("failed in the last run: 0")
