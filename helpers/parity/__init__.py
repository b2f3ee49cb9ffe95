"""Is the artifact still the same model? The rules, and why one rule is not enough.

1. Nothing may be NaN or infinite; shapes and dtypes must match.
2. An element fails when its absolute **and** its relative error exceed the tolerance.
3. With a float64 run of the same model as golden reference, the candidate's error may be at most
   twice the error that the float32 source has itself. This catches what a tolerance lets through,
   such as one weight set to zero in a large model. Each output position is judged by itself too,
   or one wrong class would vanish among 1,000. Where a source was luckier than its arithmetic, a
   faithful copy is further off than that. So before a close difference is a finding, the source is
   run with other last bits of its numbers: what it differs from itself by is no fault.
4. The comparison runs at several batch sizes, not only at the one that was exported.
5. The probe, the inputs of the comparison, must be able to show a fault: see `check_probe`.
"""

from helpers.parity.check import check_parity
from helpers.parity.compare import compare_outputs
from helpers.parity.golden import GoldenError, float64_reference
from helpers.parity.layer_report import LayerComparison, LayerReport
from helpers.parity.layers import compare_layers
from helpers.parity.probe import ProbeError, ProbeReport, check_probe
from helpers.parity.probe_artifact import check_artifact_probe
from helpers.parity.report import OutputComparison, ParityReport

__all__ = [
    "GoldenError",
    "LayerComparison",
    "LayerReport",
    "OutputComparison",
    "ParityReport",
    "ProbeError",
    "ProbeReport",
    "check_artifact_probe",
    "check_parity",
    "check_probe",
    "compare_layers",
    "compare_outputs",
    "float64_reference",
]
