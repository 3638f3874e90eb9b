"""The usage roll-up: moves the gateway's request counts from Redis to MongoDB.

The counts are first renamed to a key of this job's own and deleted last, and the document's `_id` is the
job's: a job that died anywhere in between can be done again and counts nothing twice.
"""

from datetime import datetime, timezone

import redis

PENDING = "usage:pending"


def roll_up(cache, database, job_id):
    """Move the counts under `job_id`. Returns the number of requests they stand for."""
    taken = f"usage:job:{job_id}"
    try:
        cache.renamenx(PENDING, taken)
    except redis.ResponseError:
        pass  # no such key: nothing was counted since the last job, or this job took it before it died
    counts = {path: int(count) for path, count in cache.hgetall(taken).items()}
    if counts:
        usage = {"_id": job_id, "at": datetime.now(timezone.utc), "requests": [
            {"path": path, "count": count} for path, count in sorted(counts.items())
        ]}
        database.usage.replace_one({"_id": job_id}, usage, upsert=True)
        cache.delete(taken)
    return sum(counts.values())
