"""Models and artifacts that many tests share: each is built once in a run, when first needed."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import absl.logging
import numpy as np
import pytest
from hypothesis import settings

if TYPE_CHECKING:
    import keras

    from helpers.lessons.digits import Digits

# Before a test module imports ONNX Runtime, which would ask for a host: see helpers/__init__.py.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

ROOT = Path(__file__).resolve().parents[1]
ROWS = 32

# The same examples on every run: a failure can be repeated, and a slow machine is no failure.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

ArtifactOf = Callable[[str, str], Path]
RunPython = Callable[..., subprocess.CompletedProcess[str]]


def pytest_configure(config: pytest.Config) -> None:
    """Silence warnings that are true, not ours to mend, and repeated hundreds of times."""
    # Keras converts to ONNX through tf2onnx, which looks for an alias that NumPy 2 announces.
    config.addinivalue_line("filterwarnings", "ignore:In the future `np.object`:FutureWarning")
    # Keras reads a tensor with np.array, in a way that NumPy 2 will drop one day.
    config.addinivalue_line(
        "filterwarnings", "ignore:__array__ implementation doesn't accept:DeprecationWarning"
    )
    # TensorFlow warns of retracing: many small models, each traced once, look like one that is
    # traced many times. Keras warns (through absl) that .h5 is a legacy format: lesson 1 says so.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    absl.logging.set_verbosity(absl.logging.ERROR)


EVERY_CELL = "EVERY_CELL_IN_THE_BROWSER"
"""`make browser` sets it, and so runs the tests marked `every_cell`, which take minutes."""

TRAINED = {"digits_cnn", "families", "mobilenet"}
"""The fixtures that are models: what a test finds with one can depend on the numbers in it."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that use a trained or a random model; leave out what takes minutes."""
    for item in items:
        if TRAINED & set(getattr(item, "fixturenames", ())):
            item.add_marker("trained")
    if not os.environ.get(EVERY_CELL):
        long = [item for item in items if item.get_closest_marker("every_cell")]
        items[:] = [item for item in items if item not in long]
        config.hook.pytest_deselected(items=long)


def skipped_reasons(reporter: pytest.TerminalReporter) -> Counter[str]:
    """Count the tests that were skipped, by their reason."""
    reports = reporter.stats.get("skipped", [])
    return Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reports)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Under CI everything is installed, so a skipped test is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter and skipped_reasons(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in a line each what was not checked on this machine, why, and how it can be."""
    lines = [
        f"{count} test{'s' if count > 1 else ''}: {reason}"
        for reason, count in sorted(skipped_reasons(terminalreporter).items())
    ]
    if not os.environ.get(EVERY_CELL):
        lines.append(
            "every cell of every lesson in JupyterLab: it takes minutes. Run: make browser"
        )
    terminalreporter.section("not checked here")
    for line in lines:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def run_python() -> RunPython:
    """Run source code in a fresh Python that finds `helpers`, and return what it wrote."""

    def run(source: str, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [sys.executable, "-c", source, *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,  # for what takes seconds: a busy machine is no failure
            **options,
        )

    return run


@pytest.fixture
def nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run in an empty folder: a check keeps its files to itself."""
    monkeypatch.chdir(tmp_path)
    yield
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="session")
def digits() -> Digits:
    from helpers.lessons.digits import load_digits

    return load_digits()


@pytest.fixture(scope="session")
def probe(digits: Digits) -> np.ndarray:
    """Real images, as many as `check_parity` runs."""
    return digits.test_images[:ROWS]


@pytest.fixture(scope="session")
def digits_cnn(digits: Digits) -> keras.Sequential:
    """The model of the lessons, trained. Tests must leave its weights as they are."""
    from helpers.lessons.models import build_digits_cnn, train

    model = build_digits_cnn()
    train(model, digits)
    return model


@pytest.fixture(scope="session")
def families(digits_cnn: keras.Sequential, digits: Digits) -> dict[str, keras.Model]:
    """One model of each family, by name; all but the digits CNN are untrained.

    A trained model is nearly sure of most digits, and a fault then hardly moves its answers: how
    much depends on the training. The soft one is trained too, with a quarter of the scores before
    the softmax: it is sure of nothing, and every fault moves its answers.
    """
    from families import build_residual, build_two_branch
    from helpers.lessons import models

    residual = build_residual()
    models.calibrate_batch_norm(residual, digits.train_images[:256])
    return {
        "digits_cnn": digits_cnn,
        "soft_cnn": softened(digits_cnn),
        "residual": residual,
        "lstm": models.build_lstm(),
        "attention": models.build_attention(),
        "two_branch": build_two_branch(),
    }


def softened(model: keras.Model, factor: float = 4.0) -> keras.Model:
    """Copy a model, with the scores before its softmax divided."""
    import keras

    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for weight in copy.get_layer("probabilities").weights:
        weight.assign(weight / factor)
    return copy


@pytest.fixture(scope="session")
def feeds(probe: np.ndarray, families: dict[str, keras.Model]) -> dict[str, Any]:
    """The inputs of each family: an array, or a dict of arrays."""
    inputs: dict[str, Any] = dict.fromkeys(families, probe)
    inputs["two_branch"] = {"image": probe, "profile": probe.mean(axis=(2, 3))}
    return inputs


@pytest.fixture(scope="session")
def artifact(
    families: dict[str, keras.Model], tmp_path_factory: pytest.TempPathFactory
) -> ArtifactOf:
    """Give the path of a family's artifact by a route; it is written when first asked for."""
    from routes import write_artifact

    folder = tmp_path_factory.mktemp("artifacts")
    written: dict[tuple[str, str], Path] = {}

    def get(family: str, route: str) -> Path:
        key = (family, route)
        if key not in written:
            written[key] = write_artifact(families[family], route, folder / f"{family}-{route}")
        return written[key]

    return get


@pytest.fixture(scope="session")
def mobilenet() -> keras.Model:
    """A real-size architecture at a small image size, calibrated."""
    from helpers.lessons.models import build_mobilenet_v2

    return build_mobilenet_v2(image_size=96)
