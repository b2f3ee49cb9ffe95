"""What a comparison with a reference can prove: its golden run, and whether a fault can show."""

from __future__ import annotations

from typing import NamedTuple

from helpers.formats import KerasRuntime, Runtime
from helpers.formats.tensors import Arrays
from helpers.parity.compare import Outputs
from helpers.parity.golden import GoldenError, float64_reference
from helpers.parity.probe import ProbeError, check_probe
from helpers.parity.probe_artifact import check_artifact_probe


class Evidence(NamedTuple):
    """What was found.

    Attributes:
        golden: the outputs in float64; None where there is no such run.
        proves: whether a fault can show in the probe.
        note: what a reader must know about both; None when there is nothing to say.
    """

    golden: Outputs | None
    proves: bool
    note: str | None


def gather_evidence(runtime: Runtime, path: str | None, inputs: Arrays) -> Evidence:
    """Run a model in float64, where it is a Keras model, and try whether a fault can show.

    Args:
        runtime: the model.
        path: of the artifact that it is; None for a Keras model in memory.
        inputs: the probe, as the model takes it.
    """
    if not isinstance(runtime, KerasRuntime):
        return _of_artifact(path, inputs)
    try:
        golden = float64_reference(runtime.model, inputs)
    except GoldenError as error:
        note = f"no golden run, so parity means tolerances only: {error}"
        return Evidence(None, True, note)
    try:
        check_probe(runtime.model, inputs, golden)
    except ProbeError as error:
        return Evidence(golden, False, f"parity proves little: {error}")
    return Evidence(golden, True, None)


def _of_artifact(path: str, inputs: Arrays) -> Evidence:
    try:
        check_artifact_probe(path, inputs)
    except ProbeError as error:
        return Evidence(None, False, f"parity proves little: {error}")
    except Exception as error:  # the runtime opens it, but what damages a copy cannot read it
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        note = f"parity proves little: whether a fault shows was not tried ({reason})"
        return Evidence(None, False, note)
    note = "the reference is no Keras model: parity means tolerances only"
    return Evidence(None, True, note)
