"""A real server: its contract, its versions, its limits, and how it ends."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import needs
from bad_requests import bad_requests, request, status_of
from conftest import ROOT
from helpers.serving import Server, ServingError, start_server, write_warmup_requests
from process_memory import process_tree, proportional_bytes
from serving_models import (
    LARGEST_PIXEL,
    Client,
    alive,
    copy_version,
    damage,
    write_version,
)

PREDICT = "/v1/models/sums:predict"
PIXELS = [[1, 2], [3, 4]]
BODY_LIMIT = 200_000
ROWS_LIMIT = 100
LINUX = needs.linux("the processes of a server and their memory")


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good versions, one that is damaged, and one that refuses its own warm-up request."""
    folder = tmp_path_factory.mktemp("versions")
    write_warmup_requests(
        write_version(folder / "1", factor=10.0),
        [{"images": np.ones((rows, 2, 2), np.uint8)} for rows in (1, 2)],
        model_name="sums",
    )
    write_version(folder / "2", factor=20.0)
    damage(copy_version(folder / "2", folder / "damaged"))
    write_warmup_requests(
        copy_version(folder / "2", folder / "5"),
        [{"images": np.full((1, 2, 2), LARGEST_PIXEL + 1, np.uint8)}],
        model_name="sums",
    )
    return folder


@pytest.fixture(scope="module")
def models(versions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serving") / "models"
    (folder / "sums").mkdir(parents=True)
    copy_version(versions / "1", folder / "sums" / "1")
    copy_version(versions / "damaged", folder / "sums" / "3")
    return folder


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[Server]:
    with start_server(
        models, poll_s=0.1, max_body_bytes=BODY_LIMIT, max_rows=ROWS_LIMIT
    ) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    opened = Client(server.port)
    yield opened
    opened.close()


def states(client: Client) -> dict[str, str]:
    _, content = client.send("GET", "/v1/models/sums")
    return {each["version"]: each["state"] for each in content["model_version_status"]}


def wait_until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def test_a_row_for_each_instance_and_a_tensor_for_each_output(client: Client) -> None:
    rows = [PIXELS, [[0, 0], [0, 5]]]
    expected = [{"scaled": 100.0, "sum": 10}, {"scaled": 50.0, "sum": 5}]
    assert client.post(PREDICT, {"instances": rows}) == (200, {"predictions": expected})
    named = [{"images": row} for row in rows]
    assert client.post(PREDICT, {"instances": named}) == (200, {"predictions": expected})
    outputs = {"outputs": {"scaled": [100.0, 50.0], "sum": [10, 5]}}
    assert client.post(PREDICT, {"inputs": rows}) == (200, outputs)
    version = "/v1/models/sums/versions/1:predict"
    assert client.post(version, {"inputs": {"images": rows}}) == (200, outputs)
    other = {"signature_name": "add", "inputs": {"left": [1.5], "right": [2]}}
    assert client.post(PREDICT, other) == (200, {"outputs": [3.5]})


def test_the_status_shows_every_version_and_why_one_is_not_served(client: Client) -> None:
    status, content = client.send("GET", "/v1/models/sums")
    assert status == 200
    by_version = {each.pop("version"): each for each in content["model_version_status"]}
    assert by_version["1"] == {
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    assert by_version["3"]["state"] == "END"
    assert "TensorFlow cannot load it" in by_version["3"]["status"]["error_message"]
    _, one = client.send("GET", "/v1/models/sums/versions/3")
    assert [each["version"] for each in one["model_version_status"]] == ["3"]
    _, metadata = client.send("GET", "/v1/models/sums/metadata")
    assert metadata["model_spec"] == {"name": "sums", "signature_name": "", "version": "1"}
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["images"]["dtype"] == "DT_UINT8"
    sizes = [each["size"] for each in signature["inputs"]["images"]["tensor_shape"]["dim"]]
    assert sizes == ["-1", "2", "2"]
    assert signature["inputs"]["images"]["tensor_shape"]["unknown_rank"] is False
    assert signature["method_name"] == "tensorflow/serving/predict"  # as it is stored


BAD_REQUESTS: dict[str, tuple[str, Any, int, str]] = {
    "malformed": (PREDICT, b'{"instances": [', 400, "not JSON"),
    "not utf-8": (PREDICT, b"\xff\xfe\xfa", 400, "not JSON"),
    "deep": (PREDICT, b"[" * 100_000, 400, "not JSON"),
    "empty": (PREDICT, b"", 400, "not JSON"),
    "no object": (PREDICT, [1], 400, "expected an object"),
    "missing key": (PREDICT, {"instance": [PIXELS]}, 400, "got 'instance'"),
    "both keys": (PREDICT, {"instances": [PIXELS], "inputs": [PIXELS]}, 400, "expected one of"),
    "no rows": (PREDICT, {"instances": []}, 400, "at least one row"),
    "shape": (PREDICT, {"instances": [[[1, 2, 3]]]}, 400, "expected shape (n, 2, 2)"),
    "no batch": (PREDICT, {"instances": PIXELS}, 400, "list of rows is missing"),
    "ragged": (PREDICT, {"instances": [[[1, 2], [3]]]}, 400, "one length"),
    "fraction": (PREDICT, {"instances": [[[1, 2], [3, 1.5]]]}, 400, "got 1.5"),
    "too large": (
        PREDICT,
        {"instances": [[[1, 2], [3, 300]]]},
        400,
        "300 is not between 0 and 255",
    ),
    "negative": (PREDICT, {"instances": [[[1, 2], [3, -1]]]}, 400, "-1 is not between"),
    "text": (PREDICT, {"instances": [[[1, 2], [3, "a"]]]}, 400, 'got "a"'),
    "truth": (PREDICT, {"instances": [[[1, 2], [3, True]]]}, 400, "got true"),
    "null": (PREDICT, {"instances": [[[1, 2], [3, None]]]}, 400, "got null"),
    "graph refuses": (PREDICT, {"instances": [[[1, 2], [3, 201]]]}, 400, "a pixel above 200"),
    "signature": (PREDICT, {"signature_name": "x", "inputs": []}, 400, "there are: add, serving"),
    "input name": (PREDICT, {"inputs": {"image": [PIXELS]}}, 400, "['images'], got ['image']"),
    "many rows": (PREDICT, {"instances": [PIXELS] * (ROWS_LIMIT + 1)}, 413, "at most 100 rows"),
    "oversize": (PREDICT, b" " * (BODY_LIMIT + 1), 413, "more than 200000 bytes"),
    "far oversize": (PREDICT, b" " * (10 * BODY_LIMIT), 413, "more than 200000 bytes"),
    "model": ("/v1/models/other:predict", {"inputs": [PIXELS]}, 404, "no model 'other'"),
    "version": ("/v1/models/sums/versions/9:predict", {}, 404, "it serves version 1"),
    "damaged version": ("/v1/models/sums/versions/3:predict", {}, 404, "no version 3"),
    "address": ("/v1/models/a/b/c:predict", {}, 404, "expected NAME or NAME/versions/NUMBER"),
    "no address": ("/nowhere", {}, 404, "Not Found"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_a_bad_request_is_told_why_and_the_server_lives_on(client: Client, name: str) -> None:
    path, content, expected_status, message = BAD_REQUESTS[name]
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    status, answer = client.send("POST", path, body)
    assert status == expected_status, answer
    assert list(answer) == ["error"]
    assert message in answer["error"]
    assert client.post(PREDICT, {"instances": [PIXELS]})[0] == 200


HEADERS: dict[str, tuple[dict[str, str], int, str]] = {
    "another host": ({"Host": "example.com"}, 403, "is for the host 'example.com'"),
    "a name that begins well": ({"Host": "127.0.0.1.example.com"}, 403, "localhost and 127.0.0.1"),
    "a network address": ({"Host": "192.0.2.1:8501"}, 403, "'192.0.2.1'"),
    "text": ({"Content-Type": "text/plain"}, 415, "got 'text/plain'"),
    "a form": ({"Content-Type": "application/x-www-form-urlencoded"}, 415, "curl, add -H"),
    "a page's bytes": ({"Origin": "http://example.com"}, 415, "expected the content type"),
    "localhost": ({"Host": "localhost"}, 200, ""),
    "IPv6": ({"Host": "[::1]:8501"}, 200, ""),
    "JSON": ({"Content-Type": "application/json; charset=utf-8"}, 200, ""),
    "JSON of a page": ({"Content-Type": "Application/JSON", "Origin": "http://localhost"}, 200, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADERS)
def test_what_a_web_page_can_send_is_refused(client: Client, name: str) -> None:
    headers, expected_status, message = HEADERS[name]
    body = json.dumps({"instances": [PIXELS]}).encode()
    status, answer = client.send("POST", PREDICT, body, headers)
    assert status == expected_status, answer
    assert message in answer.get("error", "")
    if "Host" in headers:
        assert client.send("GET", "/v1/models/sums", headers=headers)[0] == expected_status
    assert client.send("OPTIONS", PREDICT, headers=headers)[0] == 405  # no page gets a yes


def test_no_bad_request_is_a_fault_of_the_server(server: Server, client: Client) -> None:
    """A fixed sample; the generator makes as many as are wanted."""
    found: dict[str, set[int | None]] = {}
    for bad in bad_requests(seed=1, count=400):
        status = status_of(server.port, bad)
        found.setdefault(bad.kind, set()).add(status)
        assert status is not None or not bad.framed, bad
        assert status is None or status == 200 or 400 <= status < 500, bad
    assert found["host"] <= {400, 403}
    assert found["type"] == {415}
    assert found["method"] == {405}
    assert found["size"] == {413}
    assert found["unfinished"] == {None}
    assert {200, 400} == found["content"]
    assert client.post(PREDICT, {"instances": [PIXELS]})[0] == 200
    assert len(server._worker.log_tail()) < 10_000


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=60)


def test_connections_are_bounded_in_number(server: Server, client: Client) -> None:
    opened = [connect(server) for _ in range(200)]
    wait_until(lambda: len(select.select(opened, [], [], 0)[0]) == 72, "not 72 have an answer")
    refused = select.select(opened, [], [], 0)[0]
    assert {each.recv(100)[:12] for each in refused} == {b"HTTP/1.1 503"}
    for each in opened:
        each.close()
    wait_until(lambda: connections(server) == 0, "a connection is still open")
    assert client.post(PREDICT, {"instances": [PIXELS]})[0] == 200


def test_connections_are_bounded_in_time(models: Path) -> None:
    """Idle, with half of its headers, and with half of its body."""
    with start_server(models, client_timeout_s=0.5) as server:
        opened = [connect(server) for _ in range(3)]
        opened[1].sendall(b"POST /v1")
        opened[2].sendall(request(b"{}")[:-1])
        assert [each.recv(100) for each in opened] == [b""] * 3
        client = Client(server.port)
        assert client.post(PREDICT, {"instances": [PIXELS]})[0] == 200
        client.close()


def test_a_client_that_does_not_read_is_let_go(models: Path) -> None:
    with start_server(models, client_timeout_s=1.0) as server, connect(server) as connection:
        connection.settimeout(4)  # the server's end is gone sooner, or nothing can be sent
        asked = request(b'{"instances": [' + b"[[1, 2], [3, 4]], " * 1000 + b"[[1, 2], [3, 4]]]}")
        asked = asked.replace(b"Connection: close", b"Connection: keep-alive")
        with pytest.raises(OSError, match=r"timed out|reset|[Bb]roken pipe"):
            connection.sendall(asked * 500)
        wait_until(lambda: connections(server) == 0, "its connection is still open")


def connections(server: Server) -> int:
    """Count the open connections of the server's side."""
    local = f"0100007F:{server.port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[1] == local and line.split()[3] == "01" for line in lines)


@pytest.mark.parametrize("name", ["숫자", "my model", "a%20b?c#d"])
def test_names_that_an_address_can_carry_are_served(
    versions: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).mkdir()
    copy_version(versions / "2", tmp_path / name / "1")
    with start_server(tmp_path) as server:
        opened = Client(server.port)
        path = server.url(name).partition(str(server.port))[2]
        assert opened.post(path, {"inputs": [PIXELS]})[1]["outputs"]["sum"] == [10]
        opened.close()


@LINUX
def test_a_name_that_no_address_can_carry_is_refused(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9") / "1").mkdir(parents=True)
    with pytest.raises(ServingError, match=r"caf\\udce9': no address can hold this name"):
        start_server(tmp_path)


@LINUX
def test_the_server_listens_on_127_0_0_1_only(server: Server) -> None:
    inodes = set()
    for process in process_tree(server.process_id):
        for descriptor in Path(f"/proc/{process}/fd").iterdir():
            inodes.add(os.readlink(descriptor))
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                listening.append(fields[1])
    assert listening == [f"0100007F:{server.port:04X}"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; tells this machine's own address
        address = probe.getsockname()[0]
    if not address.startswith("127."):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, server.port), timeout=5)
    socket.create_connection(("127.0.0.1", server.port), timeout=5).close()


def test_2000_requests_from_16_clients_none_wrong_none_lost(server: Server) -> None:
    def ask(number: int) -> int:
        opened = Client(server.port)
        right = 0
        for step in range(125):
            pixels = [[number, step], [step % 7, 1]]
            total = number + step + step % 7 + 1
            status, answer = opened.post(PREDICT, {"instances": [pixels]})
            right += status == 200 and answer == {
                "predictions": [{"scaled": 10.0 * total, "sum": total}]
            }
        opened.close()
        return right

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(ask, range(16))) == 2000


def test_a_new_version_takes_over_and_goes_again_with_requests_in_flight(
    server: Server, models: Path, versions: Path, client: Client
) -> None:
    stop = threading.Event()
    answers: list[tuple[int, Any]] = []

    def keep_asking() -> None:
        opened = Client(server.port)
        while not stop.is_set():
            answers.append(opened.post(PREDICT, {"instances": [PIXELS]}))
        opened.close()

    threads = [threading.Thread(target=keep_asking) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        second = copy_version(versions / "2", models / "sums" / "2")
        wait_until(lambda: states(client)["1"] == "END", "version 1 is still served")
        assert states(client)["2"] == "AVAILABLE"
        damage(copy_version(versions / "2", models / "sums" / "4"))
        wait_until(lambda: states(client).get("4") == "END", "version 4 is not reported")
        assert states(client)["2"] == "AVAILABLE"
        copy_version(versions / "5", models / "sums" / "5")
        wait_until(lambda: states(client).get("5") == "END", "version 5 is not reported")
        _, content = client.send("GET", "/v1/models/sums/versions/5")
        message = content["model_version_status"][0]["status"]["error_message"]
        assert "fails on its warm-up requests" in message
        assert states(client)["2"] == "AVAILABLE"
        second.rename(models.parent / "retired")
        wait_until(lambda: states(client)["1"] == "AVAILABLE", "version 1 is not back")
        wait_until(lambda: states(client)["2"] == "END", "version 2 is still there")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert {status for status, _ in answers} == {200}
    factors = [answer["predictions"][0]["scaled"] / 10 for _, answer in answers]
    assert set(factors) == {10.0, 20.0}
    assert factors[0] == factors[-1] == 10.0


@LINUX
def test_the_server_needs_at_most_700_mb(server: Server) -> None:
    assert 100e6 < sum(proportional_bytes(process_tree(server.process_id))) < 700e6


def test_a_request_of_many_rows_is_answered_like_single_ones(client: Client) -> None:
    pixels = np.random.default_rng(0).integers(0, 200, (ROWS_LIMIT, 2, 2), dtype=np.uint8)
    status, answer = client.post(PREDICT, {"instances": pixels.tolist()})
    assert status == 200
    assert [row["sum"] for row in answer["predictions"]] == pixels.sum(axis=(1, 2)).tolist()


def test_addresses_are_checked_before_a_request_is_sent(server: Server) -> None:
    assert server.url("sums") == f"http://127.0.0.1:{server.port}{PREDICT}"
    assert server.url("sums", 2, "").endswith("/v1/models/sums/versions/2")
    with pytest.raises(ServingError, match="no model 'other' is served; there are: sums"):
        server.url("other")


def test_a_port_that_is_taken_is_named(server: Server, models: Path) -> None:
    with pytest.raises(ServingError, match=rf"port {server.port} cannot be used.*port=0"):
        start_server(models, port=server.port)


def test_a_model_that_cannot_be_loaded_is_named(versions: Path, tmp_path: Path) -> None:
    (tmp_path / "sums").mkdir()
    copy_version(versions / "damaged", tmp_path / "sums" / "1")
    with pytest.raises(ServingError, match=r"model 'sums' cannot be served: .*/1: TensorFlow"):
        start_server(tmp_path)


def test_folders_without_a_version_are_named(tmp_path: Path, models: Path) -> None:
    with pytest.raises(ServingError, match="there is no such folder"):
        start_server(tmp_path / "nothing")
    with pytest.raises(ServingError, match="it holds no model"):
        start_server(tmp_path)
    with pytest.raises(ServingError, match="it is the folder of one model"):
        start_server(models / "sums")
    (tmp_path / "digits" / "latest").mkdir(parents=True)
    with pytest.raises(ServingError, match=r"a subfolder for each version.*it holds: latest"):
        start_server(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", 80), ("port", -1), ("port", True), ("life_s", 0), ("max_rows", -1),
     ("poll_s", float("nan")), ("ready_timeout_s", float("inf"))],
)  # fmt: skip
def test_arguments_out_of_range_are_named(models: Path, name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        start_server(models, **{name: value})


def test_without_tensorflow_nothing_is_started(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ServingError, match="the package tensorflow is not installed"):
        start_server(models)


def test_a_server_whose_life_is_over_says_so(models: Path) -> None:
    with pytest.raises(ServingError, match=r"its life of 0\.5 s.*life_s="):
        start_server(models, life_s=0.5)


@LINUX
def test_a_server_that_is_killed_says_so_and_leaves_nothing(models: Path) -> None:
    server = start_server(models)
    processes = process_tree(server.process_id)
    assert len(processes) == 2
    os.kill(server.process_id, signal.SIGKILL)
    wait_until(lambda: not alive(processes), "processes are left")
    wait_until(lambda: repr(server) == "Server(ended)", "its end is not noticed")
    with pytest.raises(ServingError, match="the server has ended: it crashed with signal SIGKILL"):
        server.url("sums")
    server.stop()
    server.stop()
    with pytest.raises(ServingError, match="was stopped"):
        server.check()


@LINUX
def test_a_version_that_is_killed_is_loaded_again(server: Server, client: Client) -> None:
    _, version = process_tree(server.process_id)
    os.kill(version, signal.SIGKILL)
    wait_until(lambda: states(client)["1"] == "LOADING", "its end is not noticed")
    status, answer = client.post(PREDICT, {"instances": [PIXELS]})
    assert status == 503
    assert "model 'sums' is not ready: version" in answer["error"]
    wait_until(lambda: states(client)["1"] == "AVAILABLE", "it does not come back")
    assert client.post(PREDICT, {"instances": [PIXELS]})[0] == 200


PARENT = """
import sys
from helpers.serving import start_server
server = start_server(sys.argv[1])
print(server.process_id, server.port, "tensorflow" in sys.modules, flush=True)
sys.stdin.read()
"""


def refuses_connections(port: int) -> bool:
    """Say whether nobody listens at a port of this machine."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


@LINUX
def test_the_server_ends_when_its_parent_is_killed(models: Path, tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, models],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
    )
    with parent:
        process_id, port, has_tensorflow = parent.stdout.readline().split()
        assert has_tensorflow == "False"
        processes = process_tree(int(process_id))
        assert len(processes) == 2
        assert len(list(tmp_path.iterdir())) == 1
        parent.kill()
    wait_until(lambda: not alive(processes), "processes are left")
    assert list(tmp_path.iterdir()) == []
    # A process that was killed is no longer listed a moment before its sockets close.
    wait_until(lambda: refuses_connections(int(port)), "the port is still served")
