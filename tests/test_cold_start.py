"""Cold starts: fresh processes, what they report, and the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import needs
from conftest import ArtifactOf, RunPython
from helpers.costs import opened
from helpers.costs.candidate import Candidate
from helpers.costs.cold_start import compare_cold_starts, in_turns, measure_cold_start
from helpers.costs.cold_start_results import ColdStart, ColdStartRun
from helpers.costs.process import WorkerError
from tiny_onnx import write_dense

INPUTS = np.ones((3, 4), dtype=np.float32)


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    return write_dense(tmp_path / "dense.onnx")


def test_medians_and_spreads_are_exact() -> None:
    totals, memories = [50.0, 10.0, 30.0], [5.0, None, 7.0]
    runs = tuple(
        ColdStartRun(total / 10, 1.0, 0.5, total, memory)
        for total, memory in zip(totals, memories, strict=True)
    )
    start = ColdStart("it", runs, "warm")
    assert (start.import_ms, start.load_ms, start.first_inference_ms) == (3.0, 1.0, 0.5)
    assert (start.total_ms, start.spread_ms(), start.spread_ms("load_ms")) == (30.0, 40.0, 0.0)
    assert start.peak_rss_mib == 6.0
    assert len(start.to_frame()) == 3
    assert repr(start) == (
        "it: 30 ms to the first answer (import 3, load 1, first inference 0.5; slowest - fastest "
        "of 3 runs: 40), peak memory 6 MiB, page cache warm"
    )


def test_memory_that_was_not_measured_is_said_to_be_so() -> None:
    start = ColdStart("it", (ColdStartRun(1.0, 1.0, 1.0, 4.0, None),), "unknown")
    assert start.peak_rss_mib is None
    assert "peak memory not measured" in repr(start)


def test_every_run_is_a_fresh_process_and_the_first_is_not_counted(
    dense: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process_ids = []

    class Listener(opened.Worker):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            process_ids.append(self.process_id)

    monkeypatch.setattr(opened, "Worker", Listener)
    start = measure_cold_start(dense, INPUTS, repeats=2)
    assert len(set(process_ids)) == 3
    assert len(start.runs) == 2
    assert (start.candidate, start.page_cache) == ("dense.onnx", "warm")
    report = compare_cold_starts({"it": dense}, repeats=1, warm_up=False)
    assert len(process_ids) == 4
    assert report.result("it").page_cache == "unknown"


def test_the_parts_are_positive_and_add_up_to_less_than_the_total(dense: Path) -> None:
    (run,) = measure_cold_start(dense, repeats=1).runs
    parts = run.import_ms, run.load_ms, run.first_inference_ms
    assert all(part > 0 for part in parts)
    assert sum(parts) < run.total_ms


@needs.linux("the peak of memory of a process")
def test_a_large_parent_does_not_count_as_the_peak_of_its_child(dense: Path) -> None:
    ballast = np.ones(2**27)  # 1 GiB, touched
    peak = measure_cold_start(dense, repeats=1).peak_rss_mib
    assert ballast.nbytes / 2**20 == 1024
    assert 20 < peak < 512


USE_MEMORY = """
import mmap
from helpers.costs.worker import peak_rss_mib

mapped = mmap.mmap(-1, 2**30)
untouched = peak_rss_mib()
used = b"x" * 2**28
del used
print(untouched, peak_rss_mib())
"""


@needs.linux("the peak of memory of a process")
def test_the_peak_counts_memory_that_was_used_not_memory_that_was_asked_for(
    run_python: RunPython,
) -> None:
    result = run_python(USE_MEMORY)
    untouched, after = map(float, result.stdout.split())
    assert untouched < 256  # 1 GiB is mapped, which VmPeak and VmSize count
    assert after > 256  # 256 MiB and more were filled and let go, which VmRSS forgets


def test_tensorflow_is_not_loaded_for_onnx_and_costs_more(
    artifact: ArtifactOf, dense: Path
) -> None:
    report = compare_cold_starts(
        {"saved_model": artifact("digits_cnn", "export"), "onnx": dense}, repeats=1
    )
    slow, fast = report.result("saved_model"), report.result("onnx")
    assert slow.import_ms > 2 * fast.import_ms  # measured: above 20
    if sys.platform == "linux":
        assert slow.peak_rss_mib > 2 * fast.peak_rss_mib  # measured: about 10
    assert report.to_frame()["candidate"].tolist() == ["saved_model", "onnx"]


def test_turns_are_balanced_and_seeded() -> None:
    turns = list(in_turns(["a", "b", "c"], 20, seed=1))
    rounds = [turns[start : start + 3] for start in range(0, 60, 3)]
    for number, visited in enumerate(rounds):
        assert {name for _, name in visited} == {"a", "b", "c"}
        assert {each for each, _ in visited} == {number}
    assert len({tuple(name for _, name in visited) for visited in rounds}) > 2
    assert turns == list(in_turns(["a", "b", "c"], 20, seed=1))
    assert turns != list(in_turns(["a", "b", "c"], 20, seed=2))


def test_failures_are_kept_apart(
    dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sabotage.py").write_text("import os; os._exit(3)")
    monkeypatch.syspath_prepend(tmp_path)
    report = compare_cold_starts(
        {
            "gone": tmp_path / "gone.onnx",
            "crash": Candidate(dense, imports=("sabotage",)),
            "good": dense,
        },
        repeats=1,
    )
    assert [result.candidate for result in report.results] == ["good"]
    assert set(report.failures) == {"gone", "crash"}
    assert "no such file" in report.failures["gone"]
    assert "it crashed with exit code 3" in report.failures["crash"]
    with pytest.raises(KeyError, match="it crashed with exit code 3"):
        report.result("crash")
    assert "FAILED crash: it crashed" in repr(report)
    with pytest.raises(WorkerError, match=r"dense\.onnx: it crashed with exit code 3"):
        measure_cold_start(Candidate(dense, imports=("sabotage",)))


def test_bad_arguments_are_refused(dense: Path) -> None:
    with pytest.raises(ValueError, match="candidates: expected at least one"):
        compare_cold_starts({})
    with pytest.raises(ValueError, match="repeats: expected a whole number from 1 on, got 0"):
        measure_cold_start(dense, repeats=0)
    with pytest.raises(WorkerError, match="expected shape"):
        measure_cold_start(dense, np.ones((1, 5), dtype=np.float32))
