"""Python runs this at its start: the limit of oneDNN's instructions is not for OpenVINO.

TensorFlow and OpenVINO compute with oneDNN, and both read the same variable. But OpenVINO asks the
processor itself whether it has bfloat16, and on one that has it, it then finds no code for it. No
real processor is like that, so the limit ends where OpenVINO is imported.
"""

import os
import sys
from importlib.abc import MetaPathFinder


class _NoLimit(MetaPathFinder):
    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname == "openvino":
            os.environ.pop("ONEDNN_MAX_CPU_ISA", None)


sys.meta_path.insert(0, _NoLimit())
