"""Latency: the statistics, the order of visits, and what becomes of the worker processes."""

from __future__ import annotations

import itertools
import json
import os
import pty
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from jupyter_client.manager import start_new_kernel

import needs
from conftest import ROOT, ArtifactOf, RunPython
from helpers.costs.arrays import prepare_batch, save_arrays
from helpers.costs.candidate import Candidate
from helpers.costs.latency import measure_latency, median_seconds, random_orders
from helpers.costs.latency_results import Failure, LatencyReport, LatencyResult
from helpers.costs.opened import WORKER_MODULE, OpenedArtifact
from helpers.costs.process import Worker, WorkerError
from helpers.costs.statistics import calls_needed, summarize
from helpers.costs.worker import time_calls
from helpers.formats.tensors import InputError
from tiny_onnx import write_dense

QUICK_S = 0.3
INPUTS = np.random.default_rng(0).random((8, 4), dtype=np.float32)


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    return write_dense(tmp_path / "dense.onnx")


# Statistics


@pytest.mark.parametrize(("percentile", "calls"), [(90, 64), (95, 130), (99, 662)])
def test_percentiles_need_as_many_calls_as_loadgen_asks_for(percentile: float, calls: int) -> None:
    assert calls_needed(percentile) == calls


@pytest.mark.parametrize(("percentile", "calls"), [(50, 11), (0.5, 2)])
def test_other_percentiles_follow_the_same_rule(percentile: float, calls: int) -> None:
    slower = 1 - percentile / 100
    for number in (calls - 1, calls):  # at most one of them is slower, by the binomial formula
        chance = (1 - slower) ** number + number * slower * (1 - slower) ** (number - 1)
        assert (chance <= 0.01) == (number == calls)
    assert calls_needed(percentile) == calls


@pytest.mark.parametrize("percentile", [0, 100, -1])
def test_the_ends_are_no_percentiles(percentile: float) -> None:
    with pytest.raises(ValueError, match=f"between 0 and 100, got {percentile}"):
        calls_needed(percentile)


def test_statistics_are_exact() -> None:
    nanoseconds = np.random.default_rng(0).permutation(np.arange(1, 1002) * 1000)
    summary = summarize(nanoseconds)
    assert (summary.calls, summary.p50_us, summary.iqr_us) == (1001, 501.0, 500.0)
    assert summary.p90_us == pytest.approx(901.0)
    assert summary.p95_us == pytest.approx(951.0)
    assert summary.p99_us == pytest.approx(991.0)
    assert summary.iqr_ratio == 500 / 501


@pytest.mark.parametrize(("percentile", "calls"), [(90, 64), (95, 130), (99, 662)])
def test_a_percentile_with_too_few_calls_is_left_out(percentile: float, calls: int) -> None:
    name = f"p{percentile}_us"
    assert getattr(summarize(np.arange(calls - 1)), name) is None
    assert getattr(summarize(np.arange(calls)), name) is not None


def test_one_call_is_enough_for_a_median_and_none_is_not() -> None:
    summary = summarize(np.array([2500]))
    assert (summary.p50_us, summary.iqr_us, summary.p90_us) == (2.5, 0.0, None)
    with pytest.raises(ValueError, match=r"^nanoseconds: expected .* at least one call, got none$"):
        summarize(np.array([]))


def test_noise_is_an_iqr_above_a_tenth_of_the_median() -> None:
    assert not summarize(1000 * np.array([95, 97.5, 100, 102.5, 105])).noisy  # quartiles 5 apart
    assert not summarize(1000 * np.array([90, 95, 100, 105, 110])).noisy  # 10 apart: the limit
    assert summarize(1000 * np.array([90, 94, 100, 106, 110])).noisy  # 12 apart
    assert summarize(np.zeros(5)).noisy  # a clock that stands still


def make_result(**changes: Any) -> LatencyResult:
    values = {
        "calls": 100,
        "p50_us": 100.0,
        "iqr_us": 5.0,
        "p90_us": 110.0,
        "p95_us": None,
        "p99_us": None,
        "candidate": "it",
        "batch_size": 1,
        "threads": 1,
        "cpu_per_wall": 1.0,
        "round_p50_us": (100.0,),
    }
    return LatencyResult(**(values | changes))


def test_the_quietest_round_counts() -> None:
    assert make_result(round_p50_us=(105.0, 98.0, 120.0)).quietest_p50_us == 98.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, None),
        ({"iqr_us": 11.0}, "noisy: the quartiles are 11% of the median apart"),
        ({"cpu_per_wall": 1.25}, None),  # the limit
        ({"cpu_per_wall": 1.3}, r"used 1.3 processors although 1 thread should do"),
        ({"cpu_per_wall": 1.9, "threads": 2}, None),
        ({"p50_us": 2.0, "iqr_us": 0.1}, None),  # the limit
        ({"p50_us": 0.5, "iqr_us": 0.01}, "so short that the call floor is 20% of it$"),
    ],
)
def test_doubtful_results_come_with_a_warning(arguments: dict[str, Any], message: str) -> None:
    warnings = make_result(**arguments).warnings(call_floor_us=0.1)
    if message is None:
        assert warnings == ()
    else:
        (warning,) = warnings
        assert re.search(f"^it, batch size 1: {message}", warning)


def test_scenarios_have_the_names_of_loadgen() -> None:
    assert make_result(batch_size=1).scenario == "SingleStream"
    assert make_result(batch_size=2).scenario == "MultiStream"


def words(text: str) -> list[str]:
    """Return the lines of a text without the spaces that align a table."""
    return [" ".join(line.split()) for line in text.splitlines()]


REPORT = LatencyReport(
    (
        make_result(p50_us=1234.5, iqr_us=1.0),
        make_result(batch_size=8, p90_us=None, iqr_us=20.0),
    ),
    (Failure("other", None, "it crashed"), Failure("it", 32, "no room")),
    call_floor_us=0.1,
    budget_s=2.0,
    measured_s=2.1,
    startup_s=3.0,
    notes=("A note.",),
)


def test_a_report_shows_results_failures_and_terms() -> None:
    assert words(repr(REPORT)) == [
        "candidate scenario batch_size p50_us p90_us p99_us iqr_us calls threads cpu_per_wall",
        "it SingleStream 1 1,234 110 - 1 100 1 1",
        "it MultiStream 8 100 - - 20 100 1 1",
        "FAILED other: it crashed",
        "FAILED it, batch size 32: no room",
        "Warning: it, batch size 8: noisy: the quartiles are 20% of the median apart "
        "(more than 10%)",
        "An empty call takes 0.1 us, which every figure contains.",
        "Measured for 2.1 s (budget 2 s), after 3.0 s to start and warm up the processes.",
        "A note.",
    ]


def check_html(report: LatencyReport) -> None:
    """Compare the table and the remarks in HTML with those in text."""
    html, lines = report._repr_html_(), words(repr(report))
    cells = re.findall("<t[hd]>(.*?)</t[hd]>", html)
    assert cells == " ".join(lines[: 1 + len(report.results)]).split()
    assert re.findall("<li>(.*?)</li>", html) == lines[1 + len(report.results) :]
    assert html.endswith("</li></ul>")
    assert re.sub("<li>.*?</li>", "", html).endswith("<ul></ul>")


def test_a_report_in_html_says_the_same() -> None:
    check_html(REPORT)


def test_a_report_finds_results_and_says_why_one_is_missing() -> None:
    frame = REPORT.to_frame()
    assert frame["p90_us"].isna().tolist() == [False, True]
    assert REPORT.result("it").batch_size == 1
    assert REPORT.result("it", 8).iqr_us == 20.0
    with pytest.raises(KeyError, match="not measured: other: it crashed"):
        REPORT.result("other")
    with pytest.raises(KeyError, match="not measured: it, batch size 32: no room"):
        REPORT.result("it", 32)
    known = "no result for 'it' at batch size 3; there are: 'it' at 1, 'it' at 8"
    with pytest.raises(KeyError, match=known):
        REPORT.result("it", 3)


# Order and timing of the visits


def test_every_round_visits_every_cell_once_in_a_new_seeded_order() -> None:
    cells = [(name, size) for name in "abc" for size in (1, 32)]
    orders = list(itertools.islice(random_orders(cells, seed=3), 200))
    assert all(sorted(order) == cells for order in orders)
    assert orders == list(itertools.islice(random_orders(cells, seed=3), 200))
    assert orders != list(itertools.islice(random_orders(cells, seed=4), 200))
    assert len({tuple(order) for order in orders}) > 100
    first = Counter(order[0] for order in orders)  # 33 each if all are equally likely
    assert min(first.values()) > 15
    assert max(first.values()) < 60


def test_a_visit_times_single_calls_and_leaves_the_first_out() -> None:
    durations = iter([1.0, *[0.001] * 1000])  # the first one is far longer than a busy moment
    visit = time_calls(lambda: time.sleep(next(durations)), seconds=0.5, max_calls=1000)
    samples = visit.nanoseconds
    assert len(samples) >= 2
    assert max(samples) < 1e9
    assert sum(samples) <= visit.wall_ns
    assert visit.cpu_ns < visit.wall_ns  # it slept


def test_a_visit_ends_with_its_time_or_its_calls_but_not_before_one() -> None:
    assert len(time_calls(int, seconds=10.0, max_calls=7).nanoseconds) == 7
    assert len(time_calls(lambda: time.sleep(0.02), 0.001, 7).nanoseconds) == 1


@needs.linux("the processors that a worker may use")
def test_a_worker_has_as_many_processors_as_threads(dense: Path, tmp_path: Path) -> None:
    allowed = sorted(os.sched_getaffinity(0))
    rows = tmp_path / "rows.npz"
    save_arrays(rows, {"x": INPUTS})
    for threads in (1, len(allowed), len(allowed) + 1):
        with OpenedArtifact(Candidate(dense), tmp_path / str(threads), threads) as artifact:
            artifact.wait().warm_up(str(rows), [1], threads)
            tasks = Path("/proc", str(artifact.process_id), "task").iterdir()
            for task in tasks:  # threads that existed before the warm-up too
                assert sorted(os.sched_getaffinity(int(task.name))) == allowed[-threads:]
    assert sorted(os.sched_getaffinity(0)) == allowed


def test_visits_are_interleaved_until_the_budget_is_spent(
    dense: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits, times = [], []
    visit = OpenedArtifact.visit

    def listen(artifact: OpenedArtifact, batch_size: int, *arguments: Any) -> Any:
        visits.append((artifact.process_id, batch_size))
        times.append(time.monotonic())
        return visit(artifact, batch_size, *arguments)

    monkeypatch.setattr(OpenedArtifact, "visit", listen)
    report = measure_latency(
        {"first": dense, "second": dense}, INPUTS, batch_sizes=(1, 2), budget_s=1.0, seed=5
    )
    rounds = [visits[start : start + 4] for start in range(0, len(visits) - 3, 4)]
    cells = [(name, size) for name in ("first", "second") for size in (1, 2)]
    orders = list(itertools.islice(random_orders(cells, seed=5), len(rounds)))
    names = {process: name for (process, _), (name, _) in zip(rounds[0], orders[0], strict=True)}
    assert [[(names[process], size) for process, size in each] for each in rounds] == orders
    # However slow the machine: the first round is complete, and no other visit begins too late.
    assert report.measured_s >= 1.0
    assert len(rounds) == 1 or times[-2] - times[0] < 1.0
    for result in report.results:
        assert len(rounds) <= len(result.round_p50_us) <= len(rounds) + 1
        assert min(result.round_p50_us) <= result.p50_us <= max(result.round_p50_us)


# Calls of this process


def test_calls_take_turns_and_the_slow_one_is_known() -> None:
    order: list[str] = []

    def slow() -> None:
        order.append("slow")
        time.sleep(0.005)

    seconds = median_seconds({"slow": slow, "fast": lambda: order.append("fast")}, rounds=5)
    assert order == ["slow", "fast"] * 7  # two rounds of warm-up
    assert seconds["slow"] > 0.004
    assert seconds["slow"] > 5 * seconds["fast"]


@pytest.mark.parametrize(("calls", "rounds"), [({}, 3), ({"a": int}, 0)])
def test_nothing_to_time_is_refused(calls: dict, rounds: int) -> None:
    with pytest.raises(ValueError, match="expected calls and rounds"):
        median_seconds(calls, rounds)


# Measuring


def test_latency_is_measured_for_each_batch_size(dense: Path) -> None:
    latency = measure_latency({"dense": dense}, INPUTS, batch_sizes=(1, 8), budget_s=QUICK_S)
    assert [result.batch_size for result in latency.results] == [1, 8]
    assert latency.failures == ()
    assert latency.call_floor_us < min(result.p50_us for result in latency.results)
    assert latency.startup_s > 0


def test_batches_larger_than_the_inputs_are_filled_and_it_is_said(dense: Path) -> None:
    report = measure_latency({"dense": dense}, INPUTS[:3], batch_sizes=(7,), budget_s=QUICK_S)
    assert report.results[0].batch_size == 7
    assert report.notes == ("The inputs have 3 rows, repeated to fill larger batches.",)
    report = measure_latency({"dense": dense}, INPUTS, batch_sizes=(8,), budget_s=QUICK_S)
    assert report.notes == ()


def test_a_batch_holds_the_rows_in_turn() -> None:
    runtime = SimpleNamespace(prepare=lambda arrays: arrays)
    rows = np.arange(3).reshape(3, 1)
    (batch,) = prepare_batch(runtime, {"position_0": rows}, 7)
    assert batch.tolist() == [[0], [1], [2], [0], [1], [2], [0]]
    (batch,) = prepare_batch(runtime, {"position_0": rows}, 2)
    assert batch.tolist() == [[0], [1]]


@pytest.mark.parametrize(
    "inputs", [INPUTS, [INPUTS], {"x": INPUTS}, {"another name": INPUTS}], ids=str
)
def test_inputs_come_as_array_as_list_or_by_name(dense: Path, inputs: Any) -> None:
    report = measure_latency({"dense": dense}, inputs, batch_sizes=(1,), budget_s=QUICK_S)
    assert report.results[0].calls > 1


def test_a_batch_size_that_does_not_fit_fails_alone(tmp_path: Path, dense: Path) -> None:
    fixed = write_dense(tmp_path / "fixed.onnx", batch=1)
    report = measure_latency(
        {"fixed": fixed, "free": dense}, INPUTS, batch_sizes=(1, 8), budget_s=QUICK_S
    )
    assert [(each.candidate, each.batch_size) for each in report.results] == [
        ("fixed", 1),
        ("free", 1),
        ("free", 8),
    ]
    (failure,) = report.failures
    assert (failure.candidate, failure.batch_size) == ("fixed", 8)
    assert "expected shape (1, 4), got (8, 4)" in failure.message


def test_predict_costs_more_than_predict_on_batch_and_both_more_than_onnx(
    artifact: ArtifactOf, probe: np.ndarray
) -> None:
    model = artifact("digits_cnn", "keras")
    report = measure_latency(
        {
            "predict": Candidate(model, method="predict"),
            "predict_on_batch": Candidate(model, method="predict_on_batch"),
            "onnx": artifact("digits_cnn", "onnx"),
        },
        probe,
        batch_sizes=(1,),
        budget_s=2.0,
    )
    slow, step, fast = (report.result(name).p50_us for name in report.to_frame()["candidate"])
    assert slow > 5 * step  # measured: above 100
    assert step > 2 * fast  # measured: above 20


def test_threads_are_what_was_asked_for(artifact: ArtifactOf, run_python: RunPython) -> None:
    source = """
        import json, sys
        from helpers.costs.candidate import Candidate
        from helpers.costs.worker import open_requested
        onnx, _, _ = open_requested(Candidate(sys.argv[1], allow_spinning=True).request(3))
        options = onnx._model.get_session_options()
        spinning = options.get_session_config_entry("session.intra_op.allow_spinning")
        open_requested(Candidate(sys.argv[2], threads=2).request(3))
        import tensorflow
        threads = tensorflow.config.threading
        names = [f"get_{kind}_op_parallelism_threads" for kind in ("intra", "inter")]
        counts = [getattr(threads, name)() for name in names]
        print(json.dumps([options.intra_op_num_threads, spinning, *counts]))
    """
    paths = artifact("digits_cnn", "onnx"), artifact("digits_cnn", "export")
    result = run_python(textwrap.dedent(source), *paths)
    assert result.stdout, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == [3, "1", 2, 2]


# Bad arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"candidates": {}}, "candidates: expected at least one"),
        ({"candidates": "model.onnx"}, "candidates: expected at least one, as {name: path}"),
        ({"batch_sizes": ()}, "batch_sizes: expected whole numbers from 1 on"),
        ({"batch_sizes": (1, 0)}, "batch_sizes: expected whole numbers from 1 on"),
        ({"batch_sizes": (1.5,)}, "batch_sizes: expected whole numbers from 1 on"),
        ({"budget_s": 0}, "budget_s: expected a positive number of seconds, got 0"),
        ({"budget_s": -1.0}, "budget_s: expected a positive number of seconds, got -1.0"),
        ({"budget_s": float("nan")}, "budget_s: expected a positive number of seconds, got nan"),
        ({"timeout_s": 0}, "timeout_s: expected a positive number of seconds, got 0"),
        ({"threads": 0}, "threads: expected a whole number from 1 on, got 0"),
        ({"threads": True}, "threads: expected a whole number from 1 on, got True"),
    ],
)
def test_bad_arguments_are_refused(dense: Path, arguments: dict[str, Any], message: str) -> None:
    arguments = {"candidates": {"dense": dense}, "inputs": INPUTS} | arguments
    with pytest.raises(ValueError, match=message):
        measure_latency(**arguments)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (INPUTS[:0], "at least one"),
        ({"a": INPUTS, "b": INPUTS[:2]}, "the same number of rows"),
        ([[1.0, 2.0]], "got list for 'position_0'"),
        (np.float32(3.0), None),
    ],
    ids=["no rows", "unequal rows", "no arrays", "a scalar"],
)
def test_bad_inputs_are_refused(dense: Path, inputs: Any, message: str) -> None:
    with pytest.raises((InputError, TypeError), match=message):
        measure_latency({"dense": dense}, inputs, budget_s=QUICK_S)


def test_an_option_of_another_kind_of_artifact_is_refused(dense: Path) -> None:
    with pytest.raises(ValueError, match=r"method: .* is of kind onnx, which takes allow_spinning"):
        measure_latency({"dense": Candidate(dense, method="predict")}, INPUTS, budget_s=QUICK_S)
    with pytest.raises(ValueError, match="threads: expected a whole number from 1 on, got 0"):
        Candidate(dense, threads=0)


# Failing workers. A module that the candidate imports goes wrong in the worker only.

CRASH_LATER = """
    import gc
    from helpers.formats.onnx import OnnxRuntime
    run, freeze, calls = OnnxRuntime._run, gc.freeze, []
    def begin():  # the worker freezes its objects when all batch sizes are warm
        freeze()
        calls.append("begin")
    def crash(self, feeds):
        if calls:
            calls.append("call")
        if len(calls) == 9:
            {action}
        return run(self, feeds)
    gc.freeze, OnnxRuntime._run = begin, crash
"""
SABOTAGE = {
    "exit on import": ("import os; os._exit(3)", "it crashed with exit code 3"),
    "segfault": ("import os; os.kill(os.getpid(), 11)", "it crashed with signal SIGSEGV"),
    "words": (
        "import os, sys; print('last words', file=sys.stderr, flush=True); os._exit(1)",
        "it crashed with exit code 1; the end of its log: last words",
    ),
    "raise on import": ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
    "missing module": ("import no_such_module", "No module named 'no_such_module'"),
    "hang on import": ("import time; time.sleep(600)", "it gave no answer within"),
    "exit while timed": (
        CRASH_LATER.format(action="import os; os._exit(4)"),
        "it crashed with exit code 4",
    ),
    "raise while timed": (
        CRASH_LATER.format(action="raise MemoryError('too much')"),
        "MemoryError: too much",
    ),
    "hang while timed": (
        CRASH_LATER.format(action="import time; time.sleep(600)"),
        "it gave no answer within",
    ),
    "talk on the reply channel": ("import os; os.write(1, b'hello\\n')", None),
}


@pytest.fixture(scope="module")
def patience_s(tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long to wait for a worker: many times what one takes here and now."""
    dense = write_dense(tmp_path_factory.mktemp("patience") / "dense.onnx")
    report = measure_latency({"dense": dense}, INPUTS, batch_sizes=(1, 8), budget_s=QUICK_S)
    return max(4.0, 8 * report.startup_s)


@pytest.mark.parametrize("ending", SABOTAGE)
def test_a_failing_worker_is_one_failure_and_the_others_are_kept(
    dense: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ending: str,
    patience_s: float,
) -> None:
    source, message = SABOTAGE[ending]
    (tmp_path / "sabotage.py").write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(tmp_path)
    report = measure_latency(
        {"bad": Candidate(dense, imports=("sabotage",)), "good": dense},
        INPUTS,
        batch_sizes=(1, 8),
        budget_s=1.2,
        timeout_s=patience_s,
    )
    assert [r.batch_size for r in report.results if r.candidate == "good"] == [1, 8]
    if message is None:
        assert report.failures == ()
        return
    (failure,) = report.failures
    assert (failure.candidate, failure.batch_size) == ("bad", None)
    assert message in failure.message
    assert {result.candidate for result in report.results} == {"good"}


def test_an_artifact_that_cannot_be_opened_is_one_failure(dense: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(dense.read_bytes()[:60])
    report = measure_latency(
        {"cut": cut, "gone": tmp_path / "gone.onnx", "good": dense},
        INPUTS,
        batch_sizes=(1,),
        budget_s=QUICK_S,
    )
    assert [result.candidate for result in report.results] == ["good"]
    messages = {failure.candidate: failure.message for failure in report.failures}
    assert "cut.onnx" in messages["cut"]
    assert "there is no such file or folder" in messages["gone"]


def test_nothing_measured_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match=r"no candidate could be measured: gone: .*no such file"):
        measure_latency({"gone": tmp_path / "gone.onnx"}, INPUTS, budget_s=QUICK_S)


# The end of the workers

PATIENCE_S = 120.0
"""For what takes a second or two: a busy machine is no failure."""

SCRIPT = """
import signal
import sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may ignore it
import numpy as np
from helpers.costs.latency import measure_latency
from helpers.costs.process import Worker

start = Worker.__init__
def announce(self, *arguments):
    start(self, *arguments)
    print(self.process_id, flush=True)
Worker.__init__ = announce
budget = float(sys.argv[2])
candidates = {"first": sys.argv[1], "second": sys.argv[1]}
report = measure_latency(candidates, np.ones((1, 4), np.float32), batch_sizes=(1,), budget_s=budget)
print("measured", len(report.results), flush=True)
"""


def is_running(process_id: int) -> bool:
    """Tell whether a process runs; one that has ended but was not collected does not."""
    answer = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(process_id)], capture_output=True, text=True
    )
    return answer.stdout.strip()[:1] not in ("", "Z")


def all_ended(process_ids: list[int], within_s: float = PATIENCE_S) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not any(is_running(process_id) for process_id in process_ids):
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def script(dense: Path, tmp_path: Path) -> Iterator[Callable[[float], subprocess.Popen[str]]]:
    """Start a script without a main guard that measures for a given time."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    started = []

    def start(budget_s: float) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(path), str(dense), str(budget_s)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_script_without_a_main_guard_measures_once_and_leaves_nothing(
    script: Any, tmp_path: Path
) -> None:
    process = script(QUICK_S)
    output, errors = process.communicate(timeout=PATIENCE_S)
    *process_ids, last = output.splitlines()
    assert last == "measured 2"
    assert len(process_ids) == 2
    assert errors == ""
    assert all_ended([int(each) for each in process_ids])
    assert list(tmp_path.glob("helpers_latency_*")) == []


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent(script: Any, signal_number: int) -> None:
    process = script(600.0)
    process_ids = [int(process.stdout.readline()) for _ in range(2)]
    time.sleep(1.0)  # into the visits
    assert all(is_running(process_id) for process_id in process_ids)
    process.send_signal(signal_number)
    process.wait(timeout=PATIENCE_S)
    assert all_ended(process_ids)


def test_a_worker_ends_when_its_pipe_closes(tmp_path: Path) -> None:
    with Worker(WORKER_MODULE, tmp_path) as worker:
        assert is_running(worker.process_id)
        worker._process.stdin.close()
        assert all_ended([worker.process_id])


# Progress


def test_nothing_is_shown_where_nobody_watches(
    dense: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    measure_latency({"dense": dense}, INPUTS, batch_sizes=(1,), budget_s=QUICK_S)
    assert capfd.readouterr() == ("", "")


def test_a_terminal_shows_a_line_and_clears_it(dense: Path) -> None:
    source = (
        "import sys, numpy; from helpers.costs.latency import measure_latency; "
        "measure_latency({'dense': sys.argv[1]}, numpy.ones((1, 4), 'float32'), "
        "batch_sizes=(1,), budget_s=1.0)"
    )
    master, slave = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", source, str(dense)],
        stderr=slave,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=PATIENCE_S,
    )
    shown = os.read(master, 100_000).decode()
    os.close(master)
    os.close(slave)
    assert "round" in shown
    assert "dense, batch size 1" in shown
    assert shown.endswith("\r\x1b[K")
    assert "\n" not in shown


@pytest.fixture(scope="module")
def kernel() -> Iterator[SimpleNamespace]:
    manager, client = start_new_kernel(
        kernel_name="python3", env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    yield SimpleNamespace(client=client)
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.mark.parametrize("allow_stdin", [True, False])
def test_a_notebook_shows_progress_to_a_person_only_and_keeps_nothing(
    kernel: Any, allow_stdin: bool
) -> None:
    code = """
        import time
        from helpers.progress import Progress
        with Progress() as progress:
            progress.show("one", 0.1)
            time.sleep(0.3)
            progress.show("two", 0.9)
    """
    seen = []
    kernel.client.execute_interactive(
        textwrap.dedent(code),
        allow_stdin=allow_stdin,
        stdin_hook=lambda _: None,
        output_hook=lambda message: seen.append(message["msg_type"]),
        timeout=PATIENCE_S,
    )
    outputs = [kind for kind in seen if kind not in ("status", "execute_input")]
    shown = ["display_data", "update_display_data", "clear_output"]
    assert outputs == (shown if allow_stdin else [])


# What a worker may do to the process that started it

TALKS = """
import os, subprocess, sys, time
from helpers.costs.channel import Channel

channel = Channel()
request = channel.receive()
{action}
"""
MISCHIEF = {
    "prints without end": (
        "os.write(2, b'x' * 2**26 + b'\\nlast'); channel.reply({'ok': 1})", None,
    ),
    "prints to the output": ("print('hello', flush=True); channel.reply({'ok': 1})", None),
    "says what is no reply": (
        "os.write(channel._replies, b'no JSON\\n'); time.sleep(600)", "it sent what is no reply",
    ),
    "replies with a list": (
        "os.write(channel._replies, b'[1]\\n'); time.sleep(600)", "it sent what is no reply",
    ),
    "closes its pipe and stays": (
        "os.close(channel._replies); time.sleep(600)", "it closed its pipe without an answer",
    ),
    "leaves a child": (
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
        "channel.reply({'child': child.pid})", None,
    ),
    "leaves a child and crashes": (
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], "
        "stdout=2); open('child', 'w').write(str(child.pid)); os._exit(3)",
        "it crashed with exit code 3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mischief", MISCHIEF)
def test_whatever_a_worker_does_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mischief: str
) -> None:
    action, message = MISCHIEF[mischief]
    (tmp_path / "talks.py").write_text(TALKS.format(action=action))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with Worker("talks", tmp_path / "files") as worker:
        if message is None:
            reply = worker.ask({}, PATIENCE_S)
        else:
            with pytest.raises(WorkerError, match=message):
                worker.ask({}, PATIENCE_S)
            reply = {}
    left = [reply["child"]] if "child" in reply else []
    if (tmp_path / "child").exists():
        left.append(int((tmp_path / "child").read_text()))
    assert all_ended([worker.process_id, *left])
    assert len(worker._log) <= 2**16
    assert sum(file.stat().st_size for file in (tmp_path / "files").rglob("*")) == 0


@needs.linux("the limits of a process")
def test_an_artifact_that_asks_for_all_memory_is_one_failure(
    dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "greedy.py").write_text("kept = [bytes(2**30) for _ in range(2**14)]")  # 16 TiB
    monkeypatch.syspath_prepend(tmp_path)
    report = measure_latency(
        {"greedy": Candidate(dense, imports=("greedy",)), "good": dense},
        INPUTS,
        batch_sizes=(1,),
        budget_s=QUICK_S,
    )
    assert [failure.candidate for failure in report.failures] == ["greedy"]
    assert report.failures[0].message.startswith("MemoryError")
    assert [result.candidate for result in report.results] == ["good"]
