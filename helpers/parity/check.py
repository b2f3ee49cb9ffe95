"""Run two models on the same inputs, at several batch sizes, and compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from helpers.formats.runtime import Runtime
from helpers.formats.tensors import Arrays, InputError, name_arrays, rename_arrays, take_rows
from helpers.parity.compare import (
    ATOL,
    RTOL,
    Outputs,
    as_mapping,
    compare_outputs,
    may_be_rounding,
)
from helpers.parity.pairing import names_by_layer
from helpers.parity.report import OutputComparison, ParityReport
from helpers.parity.spread import Answers, in_batches, measure_spread

BATCH_SIZES = (1, 7, 32)
ROWS = 32
NOTE_ON_SPREAD = (
    "the answers differ by more than usual, but by no more than the source's own answers do when "
    "the last bits of its numbers change"
)


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

    Where an answer is further off than a faithful copy usually is, the source is run a few more
    times, to measure how far its own answers move with the last bits of its numbers (see
    `measure_spread`). Only what is further off than that is a finding.

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
    counts = _counts(batch_sizes, rows)
    spread = _Spread(source, feeds, counts)
    comparisons: list[OutputComparison] = []
    notes: dict[str, None] = {}
    for size, count in counts.items():
        expected = in_batches(source, take_rows(feeds, slice(count)), size)
        try:
            given = in_batches(candidate, take_rows(renamed, slice(count)), size)
        except Exception as error:  # whatever a runtime raises is a finding, in its own words
            found = [_failure(name, array, error) for name, array in expected.items()]
        else:
            exact = None if golden is None else take_rows(as_mapping(golden), slice(count))
            compare = partial(compare_outputs, given, expected, exact, atol=atol, rtol=rtol)
            report = compare(layers=names_by_layer(source))
            if may_be_rounding(report):
                report = compare(layers=names_by_layer(source), spread=spread.of(size))
                notes |= {NOTE_ON_SPREAD: None} if report.passed else {}
            notes |= dict.fromkeys(report.notes)
            found = list(report.comparisons)
        comparisons.extend(replace(each, batch_size=size) for each in found)
    return ParityReport(tuple(comparisons), tuple(notes))


def _counts(batch_sizes: Sequence[int], rows: int) -> dict[int, int]:
    """Return how many rows are run, by batch size."""
    sizes = dict.fromkeys(min(size, rows) for size in batch_sizes)
    limits = {size: rows if size == max(sizes) else min(ROWS, rows) for size in sizes}
    return {size: max(size, limit // size * size) for size, limit in limits.items()}


class _Spread:
    """The spread of the source's answers, measured when it is first needed."""

    def __init__(
        self, source: Runtime, feeds: Mapping[str, np.ndarray], counts: Mapping[int, int]
    ) -> None:
        self._source, self._feeds, self._counts = source, feeds, counts
        self._measured: dict[int, Answers] = {}

    def of(self, size: int) -> Answers:
        """Return it for the rows of a batch size; in the largest batches, if they have them all."""
        count, most = self._counts[size], max(self._counts)
        if count <= self._counts[most]:
            size = most
        if size not in self._measured:
            rows = take_rows(self._feeds, slice(self._counts[size]))
            self._measured[size] = measure_spread(self._source, rows, size)
        return {name: array[:, :count] for name, array in self._measured[size].items()}


def _failure(name: str, expected: np.ndarray, error: Exception) -> OutputComparison:
    message = " ".join(str(error).split())
    finding = f"the candidate fails ({type(error).__name__}: {message})"
    return OutputComparison(name, None, expected.shape, (finding,))
