"""Serve SavedModel folders over HTTP, with the REST contract of TensorFlow Serving.

`start_server` runs LitServe (https://github.com/Lightning-AI/LitServe) in processes of its own and
on 127.0.0.1 only. Why LitServe 0.2.19: it adds 16 packages with 34 MB to this environment and
changes no version. KServe's SDK 0.21.0 cannot be installed beside it: it asks for older versions of
pandas, protobuf, psutil and python-dateutil, and it listens at 0.0.0.0. LitServe brings the HTTP
server, a process that computes apart from the one that listens, and the queue between them. The
addresses, the checks of requests and the versions are written here.

All processes together need about 360 MiB beside another TensorFlow (PSS, as a container counts).
Requests are computed one after the other; send many rows in one request.

The file ``assets.extra/tf_serving_warmup_requests`` is written and read in TensorFlow Serving's
format, and `start_tensorflow_serving` runs the real program where it is installed.
"""

from helpers.serving.asking import AskingClients, Reply
from helpers.serving.errors import ServingError
from helpers.serving.fault_report import FaultPhase, FaultReport, Second, stored_fault_report
from helpers.serving.measure import measure_requests
from helpers.serving.report import RequestReport, RequestResult
from helpers.serving.server import Server, start_server
from helpers.serving.tensorflow_serving import start_tensorflow_serving
from helpers.serving.warmup import WarmupRequest, read_warmup_requests, write_warmup_requests

__all__ = [
    "AskingClients",
    "FaultPhase",
    "FaultReport",
    "Reply",
    "RequestReport",
    "RequestResult",
    "Second",
    "Server",
    "ServingError",
    "WarmupRequest",
    "measure_requests",
    "read_warmup_requests",
    "start_server",
    "start_tensorflow_serving",
    "stored_fault_report",
    "write_warmup_requests",
]
