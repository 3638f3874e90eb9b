"""Stopping in order: SIGTERM and SIGINT set one event that every loop of a process waits on.

A container's main process has PID 1, for which the kernel has no default action on SIGTERM: without a
handler `docker stop` waits its full grace period and then kills.
"""

import signal
import threading


def stop_event():
    """Return an event that is set at the first SIGTERM or SIGINT. Call it on the main thread."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
