"""Serve SavedModel folders over HTTP, with the REST contract of TensorFlow Serving.

`start_server` runs Tornado on 127.0.0.1 only, in a process of its own, with another one for each
version that is loaded. Why Tornado: JupyterLab brings it, so it adds no package, and it bounds
headers, bodies and idle connections itself. Requests are computed one after the other; send many
rows in one request.

`start_tensorflow_serving` runs the real program where it is installed. What a lesson needs beside a
server can be imported from here too: warm-up files, and clients that ask and measure.
"""

from helpers.costs.clients import AskingClients, Reply, ServingError
from helpers.costs.fault_report import FaultPhase, FaultReport, Second, stored_fault_report
from helpers.costs.requests import RequestReport, RequestResult, measure_requests
from helpers.formats.warmup import WarmupRequest, read_warmup_requests, write_warmup_requests
from helpers.serving.server import Server, start_server, start_tensorflow_serving

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
