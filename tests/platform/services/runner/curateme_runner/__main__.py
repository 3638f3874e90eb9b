"""The runner agent's routes and its reports.

Its own health does not depend on the gateway: a runner that cannot report keeps its work, so a gateway
that is being deployed must not make the runners unhealthy.
"""

import json
import socket
import threading
import time
import urllib.request

from curateme_common import settings
from curateme_common.http import serve

SERVICE = "runner-agent"
REPORT_TIMEOUT = 3  # seconds


class Reporter:
    """Reports to the gateway at `url` every `interval` seconds, on a thread of its own."""

    def __init__(self, url, key, name, interval):
        self._url, self._key, self._name, self._interval = url.rstrip("/"), key, name, interval
        self.state = "not tried"

    def run(self):
        """Report for ever; says when the gateway comes and goes, and nothing in between."""
        while True:
            before, self.state = self.state, self._report()
            if self.state != before:
                print(f"{SERVICE} gateway {self.state}", flush=True)
            time.sleep(self._interval)

    def _report(self):
        report = json.dumps({"runner": self._name, "revision": settings.REVISION}).encode()
        request = urllib.request.Request(f"{self._url}/v1/runners", data=report, method="POST", headers={
            "Content-Type": "application/json",
            "X-CM-API-Key": self._key,
        })
        try:
            with urllib.request.urlopen(request, timeout=REPORT_TIMEOUT):
                return "connected"
        except (OSError, ValueError) as error:
            return f"unreachable ({error})"


def main():
    """Report and answer until SIGTERM. Without GATEWAY_URL the runner only answers."""
    name = settings.optional("RUNNER_NAME", socket.gethostname())
    gateway = settings.optional("GATEWAY_URL")
    reporter = Reporter(gateway, settings.require("CM_API_KEY"), name, settings.seconds("REPORT_INTERVAL", 5))
    if gateway:
        threading.Thread(target=reporter.run, daemon=True).start()
    serve(SERVICE, settings.require("PORT"), {
        ("GET", "/health"): lambda _: (200, {
            "status": "ok",
            "runner": name,
            "gateway": reporter.state if gateway else "none configured",
            "revision": settings.REVISION,
        }),
    })


if __name__ == "__main__":
    main()
