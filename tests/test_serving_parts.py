"""The parts of a server that need no process: versions, bodies, warm-up files, measurements."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from helpers.formats import Runtime
from helpers.formats.identify import ArtifactError
from helpers.formats.tensors import TensorSpec
from helpers.formats.warmup import WARMUP_FILE
from helpers.serving import (
    AskingClients,
    Reply,
    ServingError,
    measure_requests,
    read_warmup_requests,
    write_warmup_requests,
)
from helpers.serving.body import RequestError, encode_answer, read_body, to_arrays
from helpers.serving.version_process import reply_to

FLOAT = TensorSpec("x", (None, 2), "float32")


def arrays(values: Any, spec: TensorSpec) -> np.ndarray:
    body = json.dumps({"instances": values}).encode()
    return to_arrays(read_body(body), [spec], 10)[spec.name]


def test_values_become_arrays_of_the_model_s_type() -> None:
    found = arrays([[1, 2.5], [float("nan"), float("-inf")]], FLOAT)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[1, 2.5], [np.nan, -np.inf]])
    assert arrays(["a", "ä"], TensorSpec("t", (None,), "string")).tolist() == ["a", "ä"]
    flags = arrays([True, False], TensorSpec("b", (None,), "bool"))
    assert flags.dtype == bool
    assert flags.tolist() == [True, False]
    large = arrays([2**63 - 1], TensorSpec("i", (None,), "int64"))
    assert large.tolist() == [2**63 - 1]


def nested(depth: int) -> Any:
    """Put a number into as many lists."""
    return [nested(depth - 1)] if depth else 1.5


def test_as_many_axes_as_an_array_can_have_are_taken() -> None:
    assert arrays(nested(64), TensorSpec("x", None, "float32")).ndim == 64
    text = np.array(b"a", dtype=object).reshape((1,) * 64)
    assert encode_answer({"t": text}, False) == f'{{"outputs": {"[" * 64}"a"{"]" * 64}}}'


@pytest.mark.parametrize(
    ("values", "spec", "message"),
    [
        ([[1, 1e39]], FLOAT, r"1e\+39 is not between"),
        ([[1, 10**400]], FLOAT, "is not between"),
        ([[True, 1]], FLOAT, "expected numbers, got true"),
        ([2**63], TensorSpec("i", (None,), "int64"), "is not between"),
        ([1], TensorSpec("b", (None,), "bool"), "expected true or false, got 1"),
        ([1], TensorSpec("t", (None,), "string"), "expected text, got 1"),
        ([[1], 2], FLOAT, "got 1 and a value at depth 2"),
        ([[1, [2]], [3, 4]], FLOAT, "got 1 and a value at depth 3"),
        ([[1, 2], [float("nan"), 1e39]], FLOAT, r"1e\+39 is not between"),
        ([[[], []]], FLOAT, r"expected shape \(n, 2\), got \(1, 2, 0\)"),
        ([1], TensorSpec("c", (None,), "complex64"), "cannot be sent as JSON"),
        ([1], TensorSpec("r", (None,), "resource"), "resource cannot be sent as JSON"),
        (nested(65), TensorSpec("x", None, "float32"), "nested at most 64 deep"),
    ],
)
def test_values_that_do_not_fit_are_refused(values: Any, spec: TensorSpec, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        arrays(values, spec)


def test_rows_need_every_input() -> None:
    body = read_body(b'{"instances": [{"x": [1, 2], "y": 3}, {"x": [1, 2]}]}')
    with pytest.raises(RequestError, match=r"row 1: expected an object with \['x', 'y'\]"):
        to_arrays(body, [FLOAT, TensorSpec("y", (None,), "float32")], 10)


def test_answers_by_row_need_as_many_rows_in_each_output() -> None:
    text = np.array([b"a", b"b"], dtype=object)
    assert json.loads(encode_answer({"t": text}, True)) == {"predictions": ["a", "b"]}
    assert json.loads(encode_answer({"t": text[:0]}, True)) == {"predictions": []}
    outputs = {"a": np.zeros(2), "b": np.zeros(3)}
    assert json.loads(encode_answer(outputs, False))["outputs"]["b"] == [0, 0, 0]
    with pytest.raises(RequestError, match="different numbers of rows"):
        encode_answer(outputs, True)
    with pytest.raises(RequestError, match="different numbers of rows"):
        encode_answer({"a": np.zeros(2), "b": np.float32(0)}, True)


class Outputs(Runtime):
    """A model that answers with its input under two names, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self._model, self._error = None, error
        outputs = [TensorSpec(name, (None,), "float32") for name in ("output_2", "output_10")]
        super().__init__("fake", [TensorSpec("x", (None,), "float32")], outputs)

    def _run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        if self._error:
            raise self._error
        return [feeds["x"], -feeds["x"]]


def test_the_server_answers_as_the_runtime_does() -> None:
    body = b'{"inputs": [1.5]}'
    reply = reply_to(body, {"serving_default": Outputs()}, 10)
    assert reply == {
        "status": 200,
        "content": '{"outputs": {"output_2": [1.5], "output_10": [-1.5]}}',
    }
    failing = {"serving_default": Outputs(ValueError("At: <stack traces unavailable> so" * 99))}
    reply = reply_to(body, failing, 10)
    assert reply["status"] == 400
    assert json.loads(reply["content"])["error"].startswith("the model refused the request: so")
    assert len(reply["content"]) < 400


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [(RecursionError(), 400, "nested too deeply"), (KeyError("x"), 500, "failed: KeyError: 'x'")],
)
def test_no_error_ends_the_process(
    monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, message: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("helpers.serving.version_process.to_arrays", fail)
    reply = reply_to(b'{"inputs": [1.5]}', {"serving_default": Outputs()}, 10)
    assert reply["status"] == status
    assert message in json.loads(reply["content"])["error"]


TEXT = TensorSpec("t", (None,), "string")


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_bytes_come_and_go_as_base64(key: str) -> None:
    """As in TensorFlow Serving: ``{"b64": ...}`` for any value of an input of text."""
    sent = [b"\x89PNG\xff", "ä".encode(), b""]
    values = [{"b64": base64.b64encode(each).decode()} for each in sent]
    body = read_body(json.dumps({key: values}).encode())
    assert to_arrays(body, [TEXT], 10)["t"].tolist() == sent
    assert arrays([values[0], "b64"], TEXT).tolist() == [sent[0], "b64"]
    rows = read_body(json.dumps({"instances": [{"t": each} for each in values]}).encode())
    assert to_arrays(rows, [TEXT], 10)["t"].tolist() == sent
    outputs = {"picture_bytes": np.array(sent, dtype=object)}
    assert json.loads(encode_answer(outputs, False)) == {"outputs": values}
    one = read_body(json.dumps({"inputs": values[0]}).encode())
    assert to_arrays(one, [TensorSpec("t", (), "string")], 10)["t"].item() == sent[0]


@pytest.mark.parametrize("value", [{"b64": "a"}, {"b64": "?!"}, {"b64": 1}, {"b64": "ä"}])
def test_what_is_no_base64_is_refused(value: Any) -> None:
    with pytest.raises(RequestError, match="input 't': 'b64' holds no base64"):
        arrays([value], TEXT)
    with pytest.raises(RequestError, match="expected whole numbers, got"):
        arrays([value], TensorSpec("n", (None,), "uint8"))


@pytest.fixture
def version_folder(tmp_path: Path) -> Path:
    """As much of a SavedModel as the warm-up file asks for."""
    folder = tmp_path / "1"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"\x08\x01\x12")
    return folder


def test_warm_up_requests_come_back_as_they_were(version_folder: Path) -> None:
    assert read_warmup_requests(version_folder) == ()
    sent = [
        {"x": np.arange(4, dtype=np.float32).reshape(2, 2), "n": np.array([1, 2**40])},
        {"t": np.array(["a", "ä"], dtype=object)},
    ]
    path = write_warmup_requests(version_folder, sent, model_name="m", signature_name="s")
    assert path == version_folder / "assets.extra" / "tf_serving_warmup_requests"
    found = read_warmup_requests(version_folder)
    assert [(each.model_name, each.signature_name) for each in found] == [("m", "s")] * 2
    for request, given in zip(found, sent, strict=True):
        assert set(request.inputs) == set(given)
    np.testing.assert_array_equal(found[0].inputs["x"], sent[0]["x"])
    assert found[0].inputs["x"].dtype == np.float32
    assert found[0].inputs["n"].tolist() == [1, 2**40]
    assert [text.decode() for text in found[1].inputs["t"]] == ["a", "ä"]
    with pytest.raises(FileExistsError, match="Delete it first"):
        write_warmup_requests(version_folder, sent, model_name="m")


def test_the_bytes_are_those_of_tensorflow_serving(version_folder: Path) -> None:
    """Tags are field number * 8 + 2: predict_log 6, request 1, model_spec 1, inputs 2."""
    import tensorflow as tf

    write_warmup_requests(version_folder, [{"x": np.zeros(1)}], model_name="m")
    (record,) = tf.data.TFRecordDataset(str(version_folder / WARMUP_FILE))
    content = record.numpy()
    assert content[0] == 6 * 8 + 2
    request = content[2 + (content[1] > 127) :]
    assert request[0] == 1 * 8 + 2
    assert b"\x0a\x01m\x1a\x0fserving_default" in content  # name 1, signature_name 3
    assert b"\x0a\x01x\x12" in content  # an entry of the map: key 1, value 2


def test_a_damaged_warm_up_file_is_named(version_folder: Path) -> None:
    path = write_warmup_requests(version_folder, [{"x": np.zeros(1)}], model_name="m")
    content = path.read_bytes()
    for wrong in (content[:-3], content[:15] + bytes([content[15] ^ 1]) + content[16:]):
        path.write_bytes(wrong)
        with pytest.raises(ArtifactError, match="tf_serving_warmup_requests: it is no file"):
            read_warmup_requests(version_folder)


def test_wrong_warm_up_requests_are_refused(version_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected 1 to 1000 of them, got 0"):
        write_warmup_requests(version_folder, [], model_name="m")
    with pytest.raises(ValueError, match="expected arrays by input name"):
        write_warmup_requests(version_folder, [np.zeros(1)], model_name="m")
    with pytest.raises(ArtifactError, match="folder of model versions"):
        write_warmup_requests(tmp_path, [{"x": np.zeros(1)}], model_name="m")
    assert not (version_folder / "assets.extra").exists()


@pytest.fixture
def echo() -> Iterator[SimpleNamespace]:
    """A server of this process: waits, counts who waits with it, and answers."""
    state = SimpleNamespace(wait_s=0.0, fail_every=0, answer=b"{}", requests=0, together=0, most=0)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                state.requests += 1
                number, answer = state.requests, state.answer
                state.together += 1
                state.most = max(state.most, state.together)
            time.sleep(state.wait_s)
            with lock:
                state.together -= 1
            failing = state.fail_every and number % state.fail_every == 0
            self.send_response(500 if failing else 200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        state.url = f"http://127.0.0.1:{server.server_port}/v1/models/m:predict"
        yield state
        server.shutdown()


def test_every_answer_is_timed_from_the_client_s_side(echo: SimpleNamespace) -> None:
    echo.wait_s = 0.01
    report = measure_requests(echo.url, {"instances": [1]}, clients=(1, 4), budget_s=1.6)
    one, four = report.result(1), report.result(4)
    assert one.p50_us >= 10_000  # no request can be faster than the server waits
    assert four.p50_us >= 10_000
    assert echo.most == 4
    assert four.requests_per_s > 1.5 * one.requests_per_s
    assert one.calls + four.calls + 8 * (1 + 4) == echo.requests  # a first one in each round
    assert one.errors == four.errors == 0
    assert (report.payload_bytes, report.answer_bytes) == (len(b'{"instances": [1]}'), 2)
    assert "no network cable" in repr(report)
    assert "<table" in report._repr_html_()
    with pytest.raises(KeyError, match="no result for 2 clients; there are: 1, 4"):
        report.result(2)


def test_failed_requests_are_counted_and_not_timed(echo: SimpleNamespace) -> None:
    echo.fail_every = 10
    report = measure_requests(echo.url, {}, clients=[1], budget_s=0.4)
    result = report.result(1)
    assert result.errors > 0
    assert result.calls + result.errors + 8 == echo.requests
    assert "Warning: 1 client: " in repr(report)
    assert "failed, the first with: status 500" in repr(report)


def test_measurements_without_a_server_or_a_meaning_are_refused(echo: SimpleNamespace) -> None:
    with pytest.raises(ServingError, match=r"gave no answer in JSON \(\[Errno"):
        measure_requests("http://127.0.0.1:9/v1/models/m:predict", {})
    echo.fail_every = 1
    with pytest.raises(ServingError, match="answers with status 500"):
        measure_requests(echo.url, {}, budget_s=0.4)
    with pytest.raises(ValueError, match="clients: expected whole numbers"):
        measure_requests(echo.url, {}, clients=[])
    with pytest.raises(ValueError, match="budget_s"):
        measure_requests(echo.url, {}, budget_s=0)
    with pytest.raises(ValueError, match="url: expected http"):
        measure_requests("digits", {})


def test_clients_ask_until_each_has_an_answer_to_a_later_request(echo: SimpleNamespace) -> None:
    echo.wait_s = 0.1  # so that old answers are on their way
    with AskingClients(echo.url, {"instances": [1]}, clients=3) as asking:
        assert all(asking.replies)
        echo.answer = b'"new"'
        asking.wait_until(lambda: True)
        assert [mine[-1] for mine in asking.replies] == [Reply(200, "new")] * 3
    assert echo.most == 3
    assert [mine[0] for mine in asking.replies] == [Reply(200, {})] * 3
    assert sum(map(len, asking.replies)) == echo.requests


def test_asking_goes_on_while_a_condition_does_not_hold(echo: SimpleNamespace) -> None:
    echo.fail_every = 7
    with AskingClients(echo.url, {}, clients=2) as asking:
        asking.wait_until(lambda: echo.requests > 50)
        with pytest.raises(ServingError, match=r"did not hold within 0\.1 s"):
            asking.wait_until(lambda: False, timeout_s=0.1)
    assert echo.requests > 50
    assert {reply.status for mine in asking.replies for reply in mine} == {200, 500}


def test_clients_that_get_no_answer_say_so(echo: SimpleNamespace) -> None:
    nobody = "http://127.0.0.1:9/v1/models/m:predict"
    with pytest.raises(ServingError, match="gave no answer"), AskingClients(nobody, {}):
        pytest.fail("entered without an answer")
    with AskingClients(echo.url, {}) as asking:
        echo.wait_s = 1.0
        with pytest.raises(ServingError, match="no new answer"):
            asking.wait_until(lambda: True, timeout_s=0.2)
    with pytest.raises(ValueError, match="clients: expected a whole number"):
        AskingClients(echo.url, {}, clients=0)
    with pytest.raises(ValueError, match="url: expected http"):
        AskingClients("digits", {})


def test_an_answer_that_is_lost_is_reported_at_the_end(echo: SimpleNamespace) -> None:
    def lose_an_answer() -> None:
        with AskingClients(echo.url, {}):
            echo.answer = b"<html>"
            asked = echo.requests
            while echo.requests == asked:
                time.sleep(0.01)

    with pytest.raises(ServingError, match="gave no answer in JSON"):
        lose_an_answer()


def test_clients_stop_when_the_block_fails(echo: SimpleNamespace) -> None:
    with pytest.raises(RuntimeError, match="in the block"), AskingClients(echo.url, {}):
        raise RuntimeError("in the block")
    asked = echo.requests
    time.sleep(0.2)
    assert echo.requests == asked
