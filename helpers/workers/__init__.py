"""The processes that measure: a fresh Python for every candidate, started and ended by this one.

Parent's side: `Candidate` says what to open, `Worker` starts the process and talks to it.
Child's side: `channel` and the modules that run with ``python -m``. This file imports nothing, so
that a child loads nothing but what it measures.
"""
