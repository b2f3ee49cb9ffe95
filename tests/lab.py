"""JupyterLab for tests: started by `make lab`, for this machine alone, stopped with its kernels."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import needs
from helpers.serving.lifetime import free_port

ROOT = Path(__file__).resolve().parents[1]
TOKEN = "only-for-this-test"
START_S = 60


def ready_here() -> bool:
    """Tell whether `make` would find its environment finished, and so install nothing."""
    stamp = ROOT / ".venv" / "ready"
    sources = [ROOT / "requirements.txt", ROOT / "pyproject.toml"]
    return (
        shutil.which("make") is not None
        and stamp.is_file()
        and stamp.read_text(encoding="utf-8").strip() == str(ROOT)
        and all(stamp.stat().st_mtime >= source.stat().st_mtime for source in sources)
    )


def ask(port: int, path: str, method: str = "GET") -> bytes:
    """Ask the server, with the token."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        headers={"Authorization": f"token {TOKEN}"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.read()


@contextmanager
def start_lab(*options: str) -> Iterator[int]:
    """Start JupyterLab with `make lab`, and yield its port; stop it with all its children.

    Args:
        options: of JupyterLab, beside those that a test needs anyway.
    """
    if not ready_here():
        pytest.skip(needs.MAKE)  # `make lab` would install an environment
    port = free_port(0, "127.0.0.1")
    arguments = ["--no-browser", f"--port={port}", f"--IdentityProvider.token={TOKEN}", *options]
    server = subprocess.Popen(
        ["make", "lab", f"LAB_ARGS={shlex.join(arguments)}"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until_ready(port, server)
        yield port
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


def wait_until_ready(port: int, server: subprocess.Popen[bytes]) -> None:
    """Wait for the first answer."""
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        assert server.poll() is None, "make lab ended by itself"
        try:
            ask(port, "/api/status")
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"make lab did not answer within {START_S} s")
