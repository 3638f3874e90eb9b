"""A small threaded HTTP service: a table of routes, JSON in and out, one log line per request, an orderly stop.

Every service also answers `/healthz` (this process serves; says nothing about its backing services, so
that a container is not restarted for a database's fault) and `/version`.

Connections are closed after each response (HTTP/1.0): no idle keep-alive connection can hold up the
stop, and Caddy, on the same machine, loses nothing by dialling again.
"""

import hmac
import json
import sys
import threading
import time
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from curateme_common.lifecycle import stop_event
from curateme_common.settings import REVISION

MAX_BODY = 1024 * 1024  # bytes; more is refused with 413 before it is read
IDLE_TIMEOUT = 5  # seconds a client may be silent; also the longest an idle client can delay the stop


class HttpError(Exception):
    """Ends a request with `status` and `{"error": message}`."""

    def __init__(self, status, message, headers=None):
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers or {}


class Request:
    """What a handler sees: `method`, `path`, `query` (name -> list), `headers` and the body."""

    def __init__(self, method, target, headers, stream):
        self.path, _, query = target.partition("?")
        self.method, self.query = method, parse_qs(query)
        self.headers, self._stream, self._unread = headers, stream, _length(headers)

    def body(self):
        """Read the body. Raises HttpError 400, 408, 411 or 413."""
        if self._unread is None:
            raise HttpError(411, "Content-Length is missing or not a number")
        if self._unread > MAX_BODY:
            raise HttpError(413, f"the body is larger than {MAX_BODY} bytes")
        wanted, self._unread = self._unread, 0
        try:
            data = self._stream.read(wanted)
        except OSError:
            raise HttpError(408, "the body did not arrive in time") from None
        if len(data) < wanted:
            raise HttpError(400, "the body is shorter than Content-Length")
        return data

    def discard_body(self):
        """Read what no handler read: closing a connection with unread data resets it, and the answer is lost."""
        try:
            self._stream.read(min(self._unread or 0, 2 * MAX_BODY))
        except OSError:
            return

    def json_object(self):
        """Read the body as one JSON object. Raises HttpError 400 if it is anything else."""
        try:
            value = json.loads(self.body())
        except (ValueError, RecursionError):
            raise HttpError(400, "the body is not valid JSON") from None
        if not isinstance(value, dict):
            raise HttpError(400, "the body is not a JSON object")
        return value


def _length(headers):
    """Return the body's length in bytes, or None where it is not to be known."""
    text = headers.get("Content-Length")
    if text is None:
        return None if "Transfer-Encoding" in headers else 0
    return int(text) if text.isascii() and text.isdigit() else None


def same_secret(given, expected):
    """Compare two secrets in constant time; an empty secret equals nothing."""
    return bool(given) and bool(expected) and hmac.compare_digest(given.encode(), expected.encode())


def _handler(service, routes):
    """Return the handler class that serves `routes`, a dict of (method, path) to function."""

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = f"curateme-{service}", ""
        timeout = IDLE_TIMEOUT

        def _serve(self):
            started = time.monotonic()
            request = Request(self.command, self.path, self.headers, self.rfile)
            status, body, headers = self._outcome(request)
            request.discard_body()
            self._send(status, body, headers)
            probe = self.path == "/healthz" and status == 200  # every 2 s, and only news when it fails
            if not probe:
                spent = (time.monotonic() - started) * 1000
                print(f"{service} {self.command} {self.path} {status} {spent:.0f}ms", flush=True)

        def _outcome(self, request):
            try:
                return self._dispatch(request)
            except HttpError as error:
                return error.status, {"error": error.message}, error.headers
            except Exception:  # a handler's bug must not take the thread's response with it
                traceback.print_exc(file=sys.stderr)
                return 500, {"error": "internal error"}, {}

        def _dispatch(self, request):
            method = "GET" if request.method == "HEAD" else request.method
            found = routes.get((method, request.path))
            if found is None:
                known = any(path == request.path for _, path in routes)
                raise HttpError(405 if known else 404, "method not allowed" if known else "not found")
            status, body, *headers = found(request)
            return status, body, headers[0] if headers else {}

        def _send(self, status, body, headers):
            data = json.dumps(body, default=str).encode() + b"\n"
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def log_request(self, *_):
            """Said by `_serve`, with the time spent."""

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # with block_on_close: `server_close` waits for the requests under way
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """A client that went away is not an error of the service: one line, no traceback."""
        print(f"client {client_address[0]} went away: {sys.exc_info()[1]}", file=sys.stderr, flush=True)


def serve(service, port, routes):
    """Serve `routes` on `port` of all interfaces until SIGTERM, then finish the requests under way.

    `routes` maps (method, path) to a function of a Request that returns (status, body) or
    (status, body, headers), the body being anything `json.dumps` takes, or raises HttpError.
    """
    common = {
        ("GET", "/healthz"): lambda _: (200, {"status": "ok"}),
        ("GET", "/version"): lambda _: (200, {"service": service, "revision": REVISION}),
    }
    stop = stop_event()
    server = _Server(("0.0.0.0", int(port)), _handler(service, {**common, **routes}))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    print(f"{service} listening on port {port}, revision {REVISION}", flush=True)
    stop.wait()
    server.shutdown()
    server.server_close()
    print(f"{service} stopped", flush=True)
