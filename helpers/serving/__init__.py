"""Serve SavedModel folders over HTTP, with the REST contract of TensorFlow Serving.

`start_server` runs Tornado on 127.0.0.1 only, in a process of its own, with another one for each
version that is loaded. Why Tornado: JupyterLab brings it, so it adds no package, and it bounds
headers, bodies and idle connections itself. Requests are computed one after the other; send many
rows in one request.

The file ``assets.extra/tf_serving_warmup_requests`` is written and read in TensorFlow Serving's
format, and `start_tensorflow_serving` runs the real program where it is installed.
"""

from helpers.serving.clients import AskingClients, Reply
from helpers.serving.errors import ServingError
from helpers.serving.fault_report import FaultPhase, FaultReport, Second, stored_fault_report
from helpers.serving.measure import RequestReport, RequestResult, measure_requests
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
