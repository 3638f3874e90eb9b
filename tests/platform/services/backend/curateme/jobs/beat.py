"""The beat: puts a usage roll-up on the queue every BEAT_INTERVAL seconds."""

import json
import uuid

import redis

from curateme import stores
from curateme.jobs import QUEUE
from curateme_common import settings
from curateme_common.lifecycle import stop_event

MAX_QUEUED = 100  # while no worker takes jobs, more of the same would only fill Redis


def enqueue(queue):
    """Put one job on the queue unless it is full; says what it did, also when Redis is away."""
    try:
        if queue.llen(QUEUE) >= MAX_QUEUED:
            print("celery-beat queue is full, nothing added", flush=True)
            return
        job = {"id": str(uuid.uuid4()), "kind": "usage-rollup"}
        queue.lpush(QUEUE, json.dumps(job))
        print(f"celery-beat enqueued {job['kind']} {job['id']}", flush=True)
    except redis.RedisError as error:
        print(f"celery-beat redis: {error}", flush=True)


def main():
    """Enqueue until SIGTERM."""
    stop = stop_event()
    interval = settings.seconds("BEAT_INTERVAL", 10)
    queue = stores.redis_client()
    print(f"celery-beat every {interval:g} s, revision {settings.REVISION}", flush=True)
    while not stop.is_set():
        enqueue(queue)
        stop.wait(interval)
    print("celery-beat stopped", flush=True)


if __name__ == "__main__":
    main()
