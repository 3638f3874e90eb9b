#!/usr/bin/env python3
"""Asks for a page at a steady rate, whatever the answers take, until it is told to stop (SIGTERM); then prints how many
requests were sent and how many failed, and to stderr how the failures read: load.py PORT HOST PATH RATE"""

import collections
import concurrent.futures
import http.client
import signal
import sys
import threading
import time

port, host, path, rate = int(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])
stopped = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stopped.set())
failures = collections.Counter()
sent = 0


def ask():
    """One request on a connection of its own; what is not 200 is a failure."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            failures[f"status {answer.status}"] += 1
    except Exception as error:
        failures[type(error).__name__] += 1
    finally:
        connection.close()


with concurrent.futures.ThreadPoolExecutor(100) as pool:
    began = time.monotonic()
    while not stopped.is_set():
        pool.submit(ask)
        sent += 1
        time.sleep(max(0.0, began + sent / rate - time.monotonic()))
print(sent, sum(failures.values()))
if failures:
    print(dict(failures), file=sys.stderr)
