"""The documentation's server: the pages that build.py made, as static files, and `/version`.

There is no health route, on purpose: whoever asks whether the site is well asks for its first page.
"""

import functools
import json
import os
import signal
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SERVICE = "docs"
REVISION = os.environ.get("CM_REVISION", "unknown")
PAGES = Path(os.environ.get("PAGES", Path(__file__).parent / "dist"))
VERSION = json.dumps({"service": SERVICE, "revision": REVISION}).encode() + b"\n"


class Handler(SimpleHTTPRequestHandler):
    """Static files and `/version`, one log line per request."""

    server_version, sys_version = f"curateme-{SERVICE}", ""
    timeout = 5  # seconds a client may be silent

    def do_GET(self):
        """GET: the version, or a page."""
        if self.path != "/version":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(VERSION)))
        self.end_headers()
        self.wfile.write(VERSION)

    def list_directory(self, _):
        """No listings: a directory without index.html is not found."""
        self.send_error(404)

    def log_error(self, *_):
        """An error is a request too: its line is log_request's."""

    def log_request(self, code="-", size="-"):
        """One line per request on stdout."""
        print(f"{SERVICE} {self.command} {self.path} {int(code)}", flush=True)


class Server(ThreadingHTTPServer):
    """Waits for the requests under way when it closes."""

    daemon_threads = False


def main():
    """Serve PORT until SIGTERM, then finish the requests under way."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    handler = functools.partial(Handler, directory=str(PAGES))
    server = Server(("0.0.0.0", int(os.environ["PORT"])), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    print(f"{SERVICE} listening on port {os.environ['PORT']}, revision {REVISION}", flush=True)
    stop.wait()
    server.shutdown()
    server.server_close()
    print(f"{SERVICE} stopped", flush=True)


if __name__ == "__main__":
    main()
