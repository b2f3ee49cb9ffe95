"""Run in a copy of the repository: write the mutants of the named modules into them.

    python -m mutants.generate helpers/formats/tensors.py helpers/formats/identify.py

Needs mutmut. Prints the names of the mutants as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mutmut.mutation.file_mutation import mutate_file_contents
from mutmut.utils.format_utils import get_mutant_name

MUTMUTS_SWITCH = "from mutmut.mutation.trampoline import wrap_in_trampoline as _mutmut_mutated"
OUR_SWITCH = "from helpers.mutant_switch import switched as _mutmut_mutated"


def main() -> None:
    """Replace each module by one that holds the original functions and all mutants."""
    names = []
    for path in map(Path, sys.argv[1:]):
        mutated = mutate_file_contents(str(path), path.read_text())
        if mutated.mutant_names:
            path.write_text(mutated.code.replace(MUTMUTS_SWITCH, OUR_SWITCH))
        names += [get_mutant_name(path, name) for name in mutated.mutant_names]
    print(json.dumps(names))


if __name__ == "__main__":
    main()
