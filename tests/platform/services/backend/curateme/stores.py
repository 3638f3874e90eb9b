"""Connections to Redis and MongoDB, and the one honest way to ask whether they are there.

Every timeout is short: a request that cannot reach its store says so within two seconds. A name that no
longer resolves can block for longer than any socket timeout, so pings run on their own threads and the
caller waits for a limited time only.
"""

from concurrent.futures import ThreadPoolExecutor, wait

import pymongo
import redis

from curateme_common import settings

PING_LIMIT = 1.5  # seconds a health answer waits for all its pings together


def mongo():
    """Return the database named in MONGODB_URI. Connects at the first use, and again after a loss."""
    client = pymongo.MongoClient(
        settings.require("MONGODB_URI"),
        connect=False,
        directConnection=True,  # the one server named, whatever name it gives itself
        tz_aware=True,
        connectTimeoutMS=1000,
        serverSelectionTimeoutMS=1000,
        socketTimeoutMS=2000,
    )
    return client.get_default_database()


def redis_client(socket_timeout=1.0):
    """Return a client of REDIS_URL; `socket_timeout` in seconds must exceed any blocking command's."""
    return redis.Redis.from_url(
        settings.require("REDIS_URL"),
        decode_responses=True,
        socket_connect_timeout=1.0,
        socket_timeout=socket_timeout,
    )


class Health:
    """Asks each store of `pings` (name -> function that raises when the store is gone)."""

    def __init__(self, service, pings):
        self._service, self._pings = service, pings
        self._pool = ThreadPoolExecutor(max_workers=4 * len(pings), thread_name_prefix="ping")

    def report(self):
        """Ping every store now. Returns the health document; takes at most PING_LIMIT seconds."""
        asked = {name: self._pool.submit(ping) for name, ping in self._pings.items()}
        wait(asked.values(), timeout=PING_LIMIT)
        states = {name: _state(future) for name, future in asked.items()}
        degraded = any(state != "connected" for state in states.values())
        return {
            "status": "degraded" if degraded else "ok",
            **states,
            "degraded": degraded,
            "service": self._service,
            "revision": settings.REVISION,
        }


def _state(future):
    # Cancelling drops a ping that never started, so that stuck ones cannot pile up a queue behind them.
    if future.cancel() or not future.done() or future.exception() is not None:
        return "disconnected"
    return "connected"
