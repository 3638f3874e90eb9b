"""The dashboard's server: `/` sends to the login page (307), `/login` shows it.

It stands alone, without the common package: in the platform this is shaped after, the dashboard is
another team's and another language's.
"""

import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SERVICE = "dashboard"
REVISION = os.environ.get("CM_REVISION", "unknown")
PAGES = Path(os.environ.get("PAGES", Path(__file__).parent / "dist"))

LOGIN = (PAGES / "login.html").read_text().replace("{{revision}}", REVISION)
VERSION = json.dumps({
    "service": SERVICE,
    "revision": REVISION,
    "version": (PAGES / "VERSION").read_text().strip(),
})

# path -> (status, content type, body, further headers)
ROUTES = {
    "/": (307, "text/plain", "see /login\n", {"Location": "/login"}),
    "/login": (200, "text/html; charset=utf-8", LOGIN, {}),
    "/version": (200, "application/json", VERSION + "\n", {}),
    "/healthz": (200, "application/json", '{"status": "ok"}\n', {}),
}
MISSING = (404, "text/plain", "not found\n", {})


class Handler(BaseHTTPRequestHandler):
    """Answers from ROUTES, one log line per request (successful health probes excepted)."""

    server_version, sys_version = f"curateme-{SERVICE}", ""
    timeout = 5  # seconds a client may be silent

    def do_GET(self):
        """GET and HEAD."""
        path = self.path.partition("?")[0]
        status, kind, body, headers = ROUTES.get(path, MISSING)
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        if path != "/healthz":
            print(f"{SERVICE} {self.command} {self.path} {status}", flush=True)

    do_HEAD = do_GET

    def log_request(self, *_):
        """Said by do_GET."""


class Server(ThreadingHTTPServer):
    """Waits for the requests under way when it closes."""

    daemon_threads = False


def main():
    """Serve PORT until SIGTERM, then finish the requests under way."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server = Server(("0.0.0.0", int(os.environ["PORT"])), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    print(f"{SERVICE} listening on port {os.environ['PORT']}, revision {REVISION}", flush=True)
    stop.wait()
    server.shutdown()
    server.server_close()
    print(f"{SERVICE} stopped", flush=True)


if __name__ == "__main__":
    main()
