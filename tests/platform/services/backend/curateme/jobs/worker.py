"""The worker: takes jobs from Redis, carries them out, records them in MongoDB.

It touches ALIVE at every turn of its loop, also while Redis is away; the container's healthcheck reads
that file's age. A worker that hangs is unhealthy, one that waits for Redis is not.
"""

import json
import time
from datetime import datetime, timezone
from pathlib import Path

import pymongo.errors
import redis

from curateme import stores
from curateme.jobs import QUEUE, UNDER_WAY, usage
from curateme_common import settings
from curateme_common.lifecycle import stop_event

ALIVE = Path("/tmp/worker.alive")
TAKE_TIMEOUT = 1  # seconds one turn waits for a job
RETRY = 1  # seconds to wait after a store failed

KINDS = {"usage-rollup": usage.roll_up}


def requeue_unfinished(queue):
    """Put back what an earlier worker took and did not finish."""
    while queue.lmove(UNDER_WAY, QUEUE, "RIGHT", "RIGHT"):
        print("celery-worker found an unfinished job", flush=True)


def work_off(queue, database, text):
    """Carry out one job and take it off the list of those under way. Raises the stores' errors."""
    started = time.monotonic()
    job = json.loads(text)
    counted = KINDS[job["kind"]](queue, database, job["id"])
    run = {"kind": job["kind"], "counted": counted, "finished_at": datetime.now(timezone.utc)}
    database.job_runs.replace_one({"_id": job["id"]}, run, upsert=True)
    queue.lrem(UNDER_WAY, 1, text)
    spent = (time.monotonic() - started) * 1000
    print(f"celery-worker {job['kind']} {job['id']} counted {counted} requests {spent:.0f}ms", flush=True)


def turn(queue, database, stop):
    """One turn of the loop: a job, or TAKE_TIMEOUT without one. A store that is away costs RETRY seconds."""
    try:
        text = queue.blmove(QUEUE, UNDER_WAY, TAKE_TIMEOUT, "RIGHT", "LEFT")
        if text is not None:
            work_off(queue, database, text)
    except (redis.RedisError, pymongo.errors.PyMongoError) as error:
        print(f"celery-worker waits: {str(error)[:200]}", flush=True)
        stop.wait(RETRY)
        put_back(queue)
    except (ValueError, KeyError, TypeError) as error:
        print(f"celery-worker drops a job it cannot read: {error!r}", flush=True)
        queue.lrem(UNDER_WAY, 1, text)


def put_back(queue):
    """After a store failed: the job goes back to the queue if Redis is there, else at the next start."""
    try:
        requeue_unfinished(queue)
    except redis.RedisError:
        return


def main():
    """Work until SIGTERM; the job under way is finished first."""
    stop = stop_event()
    queue, database = stores.redis_client(socket_timeout=TAKE_TIMEOUT + 2.0), stores.mongo()
    put_back(queue)
    print(f"celery-worker ready, revision {settings.REVISION}", flush=True)
    while not stop.is_set():
        ALIVE.touch()
        turn(queue, database, stop)
    print("celery-worker stopped", flush=True)


if __name__ == "__main__":
    main()
