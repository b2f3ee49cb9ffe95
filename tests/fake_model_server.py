"""Stands for ``tensorflow_model_server``: the same flags, and every answer is what it was given."""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

FLAGS = dict(argument.removeprefix("--").split("=", 1) for argument in sys.argv[1:])


class Handler(BaseHTTPRequestHandler):
    """Answers every request."""

    def do_GET(self) -> None:
        self.answer({"model_version_status": [{"version": "1", "state": "AVAILABLE"}]})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer({"flags": FLAGS, "path": self.path, "body": json.loads(body)})

    def answer(self, content: object) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())


if FLAGS["model_name"] == "broken":
    sys.exit("Failed to start server. Error: Unknown: broken")
HTTPServer(("127.0.0.1", int(FLAGS["rest_api_port"])), Handler).serve_forever()
