"""Is a result faster than this machine can be in float32? Then it is not float32.

A model's matrix products need a known number of operations, and the machine has a measured top
speed for them. The time in which the products could at best be done is a floor for every float32
result. The idea is the compute side of the roofline model (Williams, Waterman and Patterson,
Communications of the ACM 52(4), 2009); the memory side is left out.
"""

from helpers.roofline.flops import UncountableError, flops_per_inference
from helpers.roofline.peak import RooflineCheck, gemm_peak_gflops, roofline_check

__all__ = [
    "RooflineCheck",
    "UncountableError",
    "flops_per_inference",
    "gemm_peak_gflops",
    "roofline_check",
]
