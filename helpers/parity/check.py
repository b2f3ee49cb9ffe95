"""Run two models on the same inputs, at several batch sizes, and compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from helpers.formats.runtime import Runtime
from helpers.formats.tensors import Arrays, InputError, name_arrays, rename_arrays, take_rows
from helpers.parity.compare import ATOL, RTOL, Outputs, as_mapping, compare_outputs
from helpers.parity.report import OutputComparison, ParityReport

BATCH_SIZES = (1, 7, 32)
ROWS = 32


def check_parity(
    candidate: Runtime,
    source: Runtime,
    inputs: Arrays,
    golden: Outputs | None = None,
    *,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    atol: float = ATOL,
    rtol: float = RTOL,
) -> ParityReport:
    """Run both models on `inputs` at several batch sizes and compare the outputs.

    The largest batch size runs all rows that fill a batch; the others run the first 32 rows, or
    one batch if that is more. A size above the number of rows is replaced by all rows.

    Args:
        candidate: the deployed model.
        source: the model that it was made from.
        inputs: the probe, as the source takes it; axis 0 of every array is the batch. Check it
            once with `check_probe`.
        golden: the outputs of `float64_reference` for all rows of `inputs`.
        batch_sizes: rows in one call.
        atol, rtol: see `compare_outputs`.

    A candidate that fails at one batch size gets a finding with its error; the other sizes are
    still compared.

    Raises:
        InputError: the inputs do not fit the source, or no input of the candidate fits them.
        ValueError: see `compare_outputs`.
    """
    feeds = name_arrays(inputs, source.inputs)
    renamed = rename_arrays(feeds, source.inputs, candidate.inputs)
    lengths = {name: len(array) for name, array in feeds.items()}
    if len(set(lengths.values())) != 1:
        raise InputError(f"the inputs have different numbers of rows: {lengths}.")
    rows = min(lengths.values())
    if rows == 0:
        raise InputError("the inputs have no rows. Give at least one.")
    comparisons: list[OutputComparison] = []
    sizes = dict.fromkeys(min(size, rows) for size in batch_sizes)
    for size in sizes:
        limit = rows if size == max(sizes) else min(ROWS, rows)
        count = max(size, limit // size * size)
        expected = _run_in_batches(source, take_rows(feeds, slice(count)), size)
        try:
            given = _run_in_batches(candidate, take_rows(renamed, slice(count)), size)
        except Exception as error:  # whatever a runtime raises is a finding, in its own words
            found = [_failure(name, array, error) for name, array in expected.items()]
        else:
            exact = None if golden is None else take_rows(as_mapping(golden), slice(count))
            report = compare_outputs(given, expected, exact, atol=atol, rtol=rtol)
            found = list(report.comparisons)
        comparisons.extend(replace(each, batch_size=size) for each in found)
    return ParityReport(tuple(comparisons))


def _failure(name: str, expected: np.ndarray, error: Exception) -> OutputComparison:
    message = " ".join(str(error).split())
    finding = f"the candidate fails ({type(error).__name__}: {message})"
    return OutputComparison(name, None, expected.shape, (finding,))


def _run_in_batches(
    runtime: Runtime, feeds: Mapping[str, np.ndarray], size: int
) -> dict[str, np.ndarray]:
    rows = min(len(array) for array in feeds.values())
    answers = [
        as_mapping(runtime(take_rows(feeds, slice(start, start + size))))
        for start in range(0, rows, size)
    ]
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}
