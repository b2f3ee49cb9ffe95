"""How `mutation.py` changes the helpers and runs the tests on every change.

- `generate`: mutmut writes all mutants of a module into it, next to the original functions.
- `switch`: chooses one of them by an environment variable, also in worker processes.
- `loop`: a pytest plugin that runs the tests for one mutant after another in one process.
- `results`: what the loop found, one line of JSON for each mutant.
"""
