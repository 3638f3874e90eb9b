"""Says who it is, what its configuration is, and whether its secret is there."""

import http.server
import json
import os
import pathlib
import signal
import socket
import threading

VERSION = pathlib.Path("VERSION").read_text().strip()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        broken = VERSION.startswith("broken")
        body = json.dumps({
            "version": VERSION,
            "node": socket.gethostname(),
            "greeting": os.environ.get("GREETING"),
            "prices": pathlib.Path("/etc/shop/prices").read_text().strip() if "GREETING" in os.environ else None,
            "secret": pathlib.Path("/run/secrets/token").exists(),
        }).encode()
        self.send_response(500 if broken else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


# The proxy asks each second who is there: until then it is served, and Swarm does not wait for ten.
signal.signal(signal.SIGTERM, lambda *_: threading.Timer(3, os._exit, [0]).start())
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
