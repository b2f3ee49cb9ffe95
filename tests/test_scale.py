"""`make scale` tells in one line what is missing, judges a run as it was, and leaves nothing.

Ray is not needed here: the run itself is what `make scale` proves.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import nbformat
import numpy as np
import pytest

import needs
from helpers.plots import plot_faults, plot_request_scaling
from helpers.plots.style import to_png
from helpers.serving import (
    FaultPhase,
    FaultReport,
    RequestReport,
    RequestResult,
    Second,
    stored_fault_report,
)
from helpers.serving.lifetime import free_port
from tools.scale import __main__, demands, supervisor
from tools.scale.load import PLAIN, RETRIED, Answer, Load, Questions, percentile_ms
from tools.scale.namespaces import isolated
from tools.scale.report import count_seconds, phase_ends, summarize_phase
from tools.scale.story import Phase
from tools.scale.verdict import check_promises

ROOT = Path(__file__).resolve().parents[1]
SCALE = ROOT / "tools" / "scale"
ENGINE = ROOT / ".venv-scale"
MACHINE = "net:[1]"
INSIDE = {"net:[2]": 20, "net:[3]": 10}

needs_namespaces = pytest.mark.skipif(not demands.can_use_namespaces(), reason=needs.NAMESPACES)
needs_engine = pytest.mark.skipif(not (ENGINE / "ready").exists(), reason=needs.ENGINE)


def phase(name: str = "a host killed", client: str = RETRIED, **changed: object) -> FaultPhase:
    """A phase in which all went well."""
    values = {
        "name": name, "client": client, "requests": 100, "lost": 0, "wrong": 0, "retried": 2,
        "first_error": "", "p50_ms": 7.0, "p99_ms": None,
        "hosts": {"10.201.0.1": 60, "10.201.0.2": 40}, "versions": ("1",),
        "disturbed_s": 1.5, "whole_s": 2.5,
    }  # fmt: skip
    return FaultPhase(**(values | changed))


@pytest.fixture
def report() -> FaultReport:
    """A run in which every promise holds, although the client without retry lost something."""
    return FaultReport(
        phases=(phase(client=PLAIN, lost=2, first_error="status 500: oops"), phase()),
        seconds=(Second(3, 90, 2, 0, 3), Second(4, 110, 0, 0, None), Second(9, 80, 0, 2, 2)),
        events=((3.0, "a host killed"), (9.0, "a host killed")),
        peak_memory_mib=2000.0,
        scored={"blocks": 60, "lost": 0, "wrong": 0, "killed": 1, "images_per_s": 9000.0},
        machine="2 processors (a model)",
        engine="ray 2.60.0",
        date="2026-11-26",
        run_s=150.0,
    )


def broken(report: FaultReport, networks: dict[str, int] = INSIDE) -> list[str]:
    """List the promises that do not hold."""
    return [each.text for each in check_promises(report, networks, MACHINE) if not each.holds]


def test_what_a_client_without_retry_loses_breaks_no_promise(report: FaultReport) -> None:
    assert broken(report) == []


@pytest.mark.parametrize(
    ("changed", "promise"),
    [
        ({"phases": (phase(lost=1),)}, "no request is lost"),
        ({"phases": (phase(requests=0),)}, "no request is lost"),
        ({"phases": (phase(wrong=1),)}, "every answer is the model's own"),
        ({"phases": (phase(), phase(client=PLAIN, wrong=1))}, "every answer is the model's own"),
        ({"phases": (phase(hosts={"10.201.0.1": 100}),)}, "both hosts answer"),
        ({"peak_memory_mib": 3100.0}, "3 GB"),
        ({"scored": {"blocks": 60, "lost": 1, "wrong": 0, "killed": 1}}, "offline scoring"),
        ({"scored": {"blocks": 60, "lost": 0, "wrong": 1, "killed": 1}}, "offline scoring"),
        ({"scored": {"blocks": 60, "lost": 0, "wrong": 0, "killed": 0}}, "offline scoring"),
    ],
)
def test_each_promise_can_be_broken(
    report: FaultReport, changed: dict[str, object], promise: str
) -> None:
    texts = broken(dataclasses.replace(report, **changed))
    assert any(promise in text for text in texts)


@pytest.mark.parametrize("networks", [{}, {MACHINE: 1, **INSIDE}])
def test_a_process_outside_of_the_hosts_breaks_a_promise(
    report: FaultReport, networks: dict[str, int]
) -> None:
    (text,) = broken(report, networks)
    assert "from outside" in text


def test_the_report_survives_its_file(report: FaultReport, tmp_path: Path) -> None:
    report.save(tmp_path / "scale.json")
    assert FaultReport.load(tmp_path / "scale.json") == report
    (tmp_path / "scale.json").write_text('{"phases": []}')
    with pytest.raises(ValueError, match="expected a report of make scale"):
        FaultReport.load(tmp_path / "scale.json")


def test_the_table_says_what_was_lost_and_where_it_was_measured(report: FaultReport) -> None:
    frame = report.to_frame()
    assert frame["lost"].tolist() == [2, 0]
    assert frame["retried"].tolist() == [2, 2]
    assert frame["by_host"].tolist() == ["60 + 40", "60 + 40"]
    for text in (repr(report), report._repr_html_()):
        assert all(each in text for each in ["2026-11-26", "2 processors", "ray 2.60.0"])


def test_the_figure_shows_each_event_and_changes_with_the_losses(report: FaultReport) -> None:
    figure = plot_faults(report)
    (legend,) = figure.legends
    assert legend.get_title().get_text().count("a host killed") == 2
    without = dataclasses.replace(report, seconds=(Second(3, 90, 0, 0, 3), *report.seconds[1:]))
    assert to_png(plot_faults(without)) != to_png(plot_faults(report))
    assert to_png(plot_faults(report)) == to_png(plot_faults(report))


def test_lesson_2_shows_a_run_that_kept_its_promises() -> None:
    stored = stored_fault_report()
    assert broken(stored) == []
    assert {phase.client for phase in stored.phases} == {PLAIN, RETRIED}
    assert all(re.search(r"\d", text) for text in (stored.machine, stored.engine, stored.date))


def test_the_knee_is_drawn_with_each_number_of_clients() -> None:
    def result(clients: int, p50_us: float) -> RequestResult:
        return RequestResult(
            calls=100, p50_us=p50_us, iqr_us=1.0, p90_us=None, p95_us=None, p99_us=None,
            clients=clients, errors=0, first_error="", requests_per_s=50.0 * clients,
        )  # fmt: skip

    report = RequestReport((result(1, 900.0), result(8, 5000.0)), 10, 10, 1.0, 1.0)
    together, waits = plot_request_scaling(report).axes
    assert together.lines[0].get_xydata().tolist() == [[1, 50], [8, 400]]
    assert waits.lines[0].get_xydata().tolist() == [[1, 0.9], [8, 5.0]]


def answer(end_s: float, error: str = "", **changed: object) -> Answer:
    """A right answer after 10 ms, or an error."""
    values = {"host": "10.201.0.1", "version": "1", "right": not error, **changed}
    return Answer(end_s - 0.01, end_s, error, **values)


def test_a_request_on_its_way_belongs_to_the_kill_that_hits_it() -> None:
    phases = [Phase("nothing happens", PLAIN, 0.0, None), Phase("a host killed", PLAIN, 10.0, 2.0)]
    assert phase_ends(phases) == [10.0, float("inf")]
    answers = [answer(9.0), answer(10.005, "status 500"), answer(12.0, tries=3), answer(99.0)]
    calm, kill = [
        summarize_phase(each, end, answers)
        for each, end in zip(phases, phase_ends(phases), strict=True)
    ]
    assert (calm.requests, calm.lost, calm.retried, calm.disturbed_s) == (1, 0, 0, None)
    assert (kill.requests, kill.lost, kill.retried, kill.first_error) == (3, 1, 1, "status 500")
    assert kill.disturbed_s == pytest.approx(2.0)
    assert calm.p50_ms == pytest.approx(10.0)
    assert calm.p99_ms is None


def test_phases_of_other_clients_end_nothing() -> None:
    phases = [Phase("a", PLAIN, 0.0, None), Phase("b", RETRIED, 5.0, None)]
    assert phase_ends(phases) == [float("inf"), float("inf")]


def test_a_second_without_an_answer_is_an_outage_only_while_clients_ask() -> None:
    answers = [answer(100.5), answer(103.2, "refused"), answer(103.3, tries=2), answer(108.1)]
    seconds = count_seconds(answers, [(101.0, 3)], 100.0, [(100.4, 103.3), (108.0, 108.1)])
    assert [each.at_s for each in seconds] == [0, 1, 2, 3, 8]
    assert [each.answered for each in seconds] == [1, 0, 0, 1, 1]
    assert [each.lost for each in seconds] == [0, 0, 0, 1, 0]
    assert [each.retried for each in seconds] == [0, 0, 0, 1, 0]
    assert [each.replicas for each in seconds] == [None, 3, None, None, None]


def test_lost_requests_have_no_time_and_a_percentile_needs_enough() -> None:
    answers = [answer(1.0), answer(2.0, "lost")]
    assert percentile_ms(answers, 50, 1) == pytest.approx(10.0)
    assert percentile_ms(answers, 50, 2) is None


class Flaky(BaseHTTPRequestHandler):
    """Answers as the model does; every third request it answers with 500, or cuts it off."""

    protocol_version = "HTTP/1.1"
    asked = 0

    def do_POST(self) -> None:
        (row,) = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["instances"]
        Flaky.asked += 1
        if Flaky.asked % 6 == 3:
            self.close_connection = True  # without a word
            return
        probabilities = [0.0] * 10
        probabilities[row[0][0]] = 1.0
        content = {"predictions": [{"class": row[0][0], "probabilities": probabilities}]}
        body = json.dumps(content).encode()
        self.send_response(500 if Flaky.asked % 6 == 0 else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-host", "here")
        self.send_header("x-model-version", "1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def flaky_url() -> Iterator[str]:
    Flaky.asked = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Flaky)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/models/digits:predict"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def questions(tmp_path: Path) -> Questions:
    """Nine images, each of which the model reads as its first grey level."""
    images = np.zeros((9, 8, 8), np.uint8)
    images[:, 0, 0] = range(9)
    right = np.eye(10, dtype=np.float32)[:9]
    np.savez(tmp_path / "answers.npz", images=images, **{"1": right, "2": right / 2})
    return Questions(tmp_path / "answers.npz")


@pytest.mark.parametrize("client", [PLAIN, RETRIED])
def test_only_a_client_that_retries_loses_nothing(
    flaky_url: str, questions: Questions, client: str
) -> None:
    with Load(flaky_url, questions, client, clients=1, period_s=0.0) as load:
        while len(load.answers) < 24:
            time.sleep(0.01)
    lost = [each.error for each in load.answers if each.error]
    assert all(each.right for each in load.answers if not each.error)
    if client == RETRIED:
        assert lost == []
        assert any(each.tries > 1 for each in load.answers)
    else:
        assert any("status 500" in text for text in lost)
        assert any("status 500" not in text for text in lost)
        assert {each.tries for each in load.answers} == {1}


def test_an_answer_is_compared_within_a_tolerance(questions: Questions) -> None:
    def body(change: float) -> bytes:
        probabilities = [change, 1.0 - change, *[0.0] * 8]
        return json.dumps({"predictions": [{"class": 1, "probabilities": probabilities}]}).encode()

    assert questions.is_right(1, "1", body(5e-6))
    assert not questions.is_right(1, "1", body(5e-5))
    assert not questions.is_right(2, "1", body(0.0))
    assert not questions.is_right(1, "2", body(0.0))


def test_the_client_is_the_one_of_lesson_2() -> None:
    """The cell's function and its client are the ones that ask the engine, word by word."""
    lesson = nbformat.read(ROOT / "notebooks" / "02_tensorflow_graph.ipynb", 4)
    (cell,) = [each.source for each in lesson.cells if "def ask(url, images)" in each.source]
    contract = (SCALE / "contract.py").read_text()
    told = {ast.dump(node) for node in ast.walk(ast.parse(contract))}
    wanted = [node for node in ast.parse(cell).body if not isinstance(node, ast.Import)]
    assert len(wanted) == 2
    assert all(ast.dump(node) in told for node in wanted)


def refusal(function: object, *arguments: object) -> str:
    """Return the one line of a refusal."""
    with pytest.raises(demands.Refusal) as caught:
        function(*arguments)
    (line,) = str(caught.value).splitlines()
    return line


def test_no_ray(tmp_path: Path) -> None:
    assert "Run it as: make scale" in refusal(demands.check_engine, tmp_path)


def test_no_linux() -> None:
    assert "this is darwin" in refusal(demands.check_system, "darwin")


def test_no_program_for_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None if program == "ip" else program)
    assert "apt install iproute2" in refusal(demands.check_system, "linux")


def test_too_little_memory() -> None:
    demands.check_memory(3 * 1024)
    line = refusal(demands.check_memory, 1536.0)
    assert "3 GiB of free memory are needed, and 1.5 GiB are free" in line


def test_the_memory_of_this_machine_is_known() -> None:
    assert 1 < demands.available_memory_mib() < 2**24


@pytest.mark.parametrize(
    ("script", "reason"),
    [("echo 'unshare failed: Operation not permitted' >&2; exit 1", "not permitted"),
     ("exit 3", "no reason given")],
)  # fmt: skip
def test_no_rights(script: str, reason: str) -> None:
    line = refusal(demands.check_rights, ["sh", "-c", script])
    assert reason in line
    assert "nothing was started" in line
    assert "No such file" in refusal(demands.check_rights, ["/nowhere/unshare"])


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port} cannot be used"):
            free_port(port, "127.0.0.1")


@pytest.mark.parametrize(("options", "code"), [([], 2), (["--if-possible"], 0)])
def test_a_refusal_is_one_line_and_starts_nothing(
    options: list[str], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(__main__, "run_in_a_host", lambda *_: pytest.fail("it was started"))
    arguments = [*options, "--environment", str(tmp_path / "none"), "--output", str(tmp_path / "o")]
    assert __main__.main(arguments) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("make scale: there is no Ray in none")
    assert list(tmp_path.iterdir()) == []


def test_unknown_arguments_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        __main__.main(["--quick"])
    assert caught.value.code == 2
    assert "unrecognized arguments: --quick" in capsys.readouterr().err


def test_a_process_that_is_left_is_found_and_ended() -> None:
    mark = f"test-{os.getpid()}"
    assert supervisor.wait_until_gone(mark, 0.0) == []
    left = subprocess.Popen(["sleep", "60"], env={**os.environ, supervisor.MARK: mark})
    try:
        assert supervisor.wait_until_gone(mark, 0.0) == [left.pid]
        assert left.wait(10) == -signal.SIGKILL
    finally:
        left.kill()
        left.wait()


RUN_SLEEP = """
import sys
from tools.scale.supervisor import run_in_a_host
program = ["sh", "-c", "sleep 61 & setsid sleep 62 & echo up; cat"]
print(run_in_a_host(program, {"PATH": sys.argv[1], "TEST_OF_SCALE": sys.argv[2]}, 30.0))
"""


def of_this_test(name: str) -> list[int]:
    """Find the processes that the test below has started, whatever became of their parents."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"TEST_OF_SCALE={name}".encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@needs_namespaces
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_after_an_interrupt(number: signal.Signals) -> None:
    name = f"{os.getpid()}-{number}"
    command = [sys.executable, "-c", RUN_SLEEP, os.environ["PATH"], name]
    # In the background of a shell, SIGINT is ignored; the program must not take that over.
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "up\n"
        assert len(of_this_test(name)) >= 3
        process.send_signal(number)
        printed = process.stdout.read()
    if number != signal.SIGKILL:
        assert printed == "(130, [])\n"
    end = time.monotonic() + 20
    while of_this_test(name) and time.monotonic() < end:
        time.sleep(0.05)
    assert of_this_test(name) == []


@needs_namespaces
def test_a_run_that_takes_too_long_is_ended() -> None:
    environment = {"PATH": os.environ["PATH"]}
    assert supervisor.run_in_a_host(["sleep", "60"], environment, 0.5) == (1, [])
    assert supervisor.run_in_a_host(["sh", "-c", "exit 4"], environment, 30.0) == (4, [])


@needs_namespaces
def test_a_host_has_no_network_but_its_own() -> None:
    script = "ip -brief address; readlink /proc/self/ns/net"
    result = subprocess.run(
        isolated(["sh", "-c", script]), capture_output=True, text=True, check=True
    )
    *devices, network = result.stdout.splitlines()
    assert [line.split()[0] for line in devices] == ["lo"]
    assert network != demands.machine_network()


def test_both_lists_and_locks_of_the_engine_agree() -> None:
    """Each direct dependency is locked; TensorFlow is not; no line names a host."""
    wanted = re.findall(r"^([\w-]+)", (ROOT / "requirements-scale.in").read_text(), re.MULTILINE)
    lock = (ROOT / "requirements-scale.txt").read_text()
    locked = dict(re.findall(r"^([\w-]+)(?:\[\w+\])?==(\S+)", lock, re.MULTILINE))
    lessons = dict(
        re.findall(r"^([\w-]+)==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    )
    assert set(wanted) <= locked.keys()
    assert locked.keys().isdisjoint({"tensorflow", "tensorflow-cpu", "keras", "litserve"})
    assert locked["onnxruntime"] == lessons["onnxruntime"]
    assert "://" not in lock


@needs_engine
def test_the_deployment_files_fit_the_schemas_and_faults_are_found() -> None:
    """Both tools' own schemas accept the files, and refuse each planted fault."""
    code = """
from tools.scale.manifests import DEPLOY, check_kserve, check_ray_serve
ray, kserve = [(DEPLOY / name).read_text() for name in ("ray_serve.yaml", "kserve.yaml")]
assert check_ray_serve(ray) == check_kserve(kserve) == []
for old, new in [("num_replicas: 3", "num_replica: 3"), ("num_replicas: 3", "num_replicas: -3"),
                 ("import_path: tools.scale.app:build", ""), ("port: 8000", "prt: 8000")]:
    assert old in ray and check_ray_serve(ray.replace(old, new)), new
for old, new in [("minReplicas: 0", "minReplica: 0"), ("scaleTarget: 2", "scaleTarget: two"),
                 ("kind: InferenceService", "kind: Service"), ("modelFormat:", "modelFormats:"),
                 ("name: onnx", "label: onnx")]:
    assert old in kserve and check_kserve(kserve.replace(old, new)), new
"""
    result = subprocess.run(
        [ENGINE / "bin" / "python", "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


def test_the_lesson_shows_the_retry_that_was_measured() -> None:
    """Both write the call down in full: the same arguments, whatever the line breaks."""

    def retry_calls(source: str) -> list[str]:
        calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
        return [ast.unparse(call) for call in calls if ast.unparse(call.func) == "Retry"]

    lesson = nbformat.read(ROOT / "notebooks" / "02_tensorflow_graph.ipynb", as_version=4)
    cells = [cell.source for cell in lesson.cells if "Retry(" in cell.source]
    (shown,) = (cell for cell in cells if "import PoolManager, Retry" in cell)
    measured = (ROOT / "tools" / "scale" / "load.py").read_text(encoding="utf-8")
    assert len(retry_calls(shown)) == 1
    assert retry_calls(shown) == retry_calls(measured)
