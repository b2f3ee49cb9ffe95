"""What an artifact weighs, and what must be installed before it can run.

``parameter_bytes`` is what the model needs; the rest of an artifact is structure, a second copy of
the weights, or the state of an optimizer. The install footprint is the other half of the price: a
file of 100 KiB may ask for 1.5 GiB of packages.
"""

from helpers.size.artifact import ArtifactSize, StoredFile, artifact_size
from helpers.size.install import DistributionSize, InstallFootprint, install_footprint

__all__ = [
    "ArtifactSize",
    "DistributionSize",
    "InstallFootprint",
    "StoredFile",
    "artifact_size",
    "install_footprint",
]
