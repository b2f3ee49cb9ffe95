"""The command line: ``python -m helpers.scorecard FILE...``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from helpers.costs.candidate import Candidate
from helpers.costs.process import WorkerError
from helpers.formats.tensors import Arrays
from helpers.plots import save
from helpers.scorecard.build import Interrupted, scorecard
from helpers.scorecard.figure import plot_scorecard

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended, as shells have it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0 when every artifact passed, 1 when one did not, 2 on bad input, 130 after Ctrl-C.
    """
    parser = _parser()
    options = parser.parse_args(arguments)

    def candidate(path: str) -> Candidate:
        signature = options.signature if Path(path).is_dir() else None
        imports = tuple(options.imports)
        return Candidate(path, imports=imports, trust=options.trust, signature=signature)

    try:
        card = scorecard(
            candidate(options.reference or options.files[0]),
            {file: candidate(file) for file in options.files},
            _read_inputs(options.inputs),
            batch_sizes=options.batch_sizes,
            budget_s=options.budget,
            threads=options.threads,
        )
    except Interrupted as interrupted:
        print(interrupted.card)
        return INTERRUPTED
    except (ValueError, OSError, WorkerError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    if options.plot:
        save(plot_scorecard(card), options.plot)
    if options.json:
        rows = json.loads(card.table.to_json(orient="index"))
        print(json.dumps({"artifacts": rows, "notes": card.notes}, indent=2))
    else:
        print(card)
    return 0 if card.table["parity"].isin(["passed", "reference"]).all() else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m helpers.scorecard",
        description="Compare artifacts of one model: parity, size, cold start, memory, latency.",
    )
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE",
        help="a .keras, .h5 or .onnx file, or a SavedModel folder")  # fmt: skip
    add("--reference", metavar="FILE", help="what counts as right (default: the first FILE)")
    add("--inputs", metavar="FILE", type=Path,
        help="an .npz file of arrays by input name, or an .npy file (default: random)")  # fmt: skip
    add("--import", dest="imports", metavar="MODULE", action="append", default=[],
        help="a module with your custom layers; may be repeated")  # fmt: skip
    add(
        "--trust",
        action="store_true",
        help="open files that call or write something: you know where they come from",
    )
    add("--signature", metavar="NAME", help="of SavedModel folders (default: serving_default)")
    add("--batch-sizes", type=int, nargs="+", default=[1, 32, 256], metavar="N")
    add("--budget", type=float, default=20.0, metavar="SECONDS",
        help="for all timed calls together (default: 20)")  # fmt: skip
    add("--threads", type=int, default=1, help="of each runtime (default: 1)")
    add("--json", action="store_true", help="print JSON instead of a table")
    add("--plot", metavar="PNG", type=Path, help="write the scorecard figure to this file")
    return parser


def _read_inputs(path: Path | None) -> Arrays | None:
    if path is None:
        return None
    if not path.is_file():
        raise ValueError(f"--inputs: there is no file {path}")
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # a damaged file raises whatever zip, zlib and NumPy raise
        words = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"--inputs: {path} cannot be read as arrays ({words}). Write it with "
            "numpy.savez(path, input_name=array), or numpy.save(path, array) for one input. "
            "Arrays of text must have a dtype of text, such as array.astype(str)."
        ) from error


if __name__ == "__main__":
    sys.exit(main())
