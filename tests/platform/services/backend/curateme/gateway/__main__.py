"""The gateway's routes.

Its health is the platform's: it asks Redis and MongoDB each time, and stays 200 when one is gone, saying
`degraded`, because the gateway itself still serves and must not be taken out of rotation for it.
"""

import json

import redis

from curateme import stores
from curateme.gateway.relay import relay
from curateme_common import settings
from curateme_common.http import HttpError, same_secret, serve

SERVICE = "backend-gateway"
RUNNER_LIFETIME = 30  # seconds without a report after which a runner is forgotten

API_KEY = settings.require("CM_API_KEY")
B2B_URL = settings.optional("B2B_URL", "http://backend-b2b:8001")
CACHE = stores.redis_client()
DATABASE = stores.mongo()
HEALTH = stores.Health(SERVICE, {"redis": CACHE.ping, "mongodb": lambda: DATABASE.command("ping")})


def health(_):
    """GET /gateway/health, /v1/health: always 200 while the gateway serves."""
    return 200, HEALTH.report()


def authorise(request):
    """Raise HttpError 401 unless the request carries the API key."""
    if not same_secret(request.headers.get("X-CM-API-Key"), API_KEY):
        raise HttpError(401, "the header X-CM-API-Key is missing or wrong")


def models(request):
    """GET /v1/models: the B2B API's list of models, counted as usage."""
    authorise(request)
    count_usage(request.path)
    return relay(f"{B2B_URL}/internal/models")


def count_usage(path):
    """Count a request for the usage roll-up; losing a count is better than losing the request."""
    try:
        CACHE.hincrby("usage:pending", path, 1)
    except redis.RedisError as error:
        print(f"{SERVICE} usage not counted: {error}", flush=True)


def report_runner(request):
    """POST /v1/runners: a runner says it is alive."""
    authorise(request)
    report = request.json_object()
    name = report.get("runner")
    if not isinstance(name, str) or not name:
        raise HttpError(400, "the report names no runner")
    with_cache(lambda: CACHE.set(f"runner:{name}", json.dumps(report), ex=RUNNER_LIFETIME))
    return 202, {"status": "accepted"}


def list_runners(request):
    """GET /v1/runners: the last report of each runner alive."""
    authorise(request)
    reports = with_cache(lambda: [CACHE.get(key) for key in CACHE.scan_iter("runner:*")])
    return 200, {"runners": [json.loads(report) for report in reports if report]}


def with_cache(action):
    """Run `action`; a Redis error becomes HttpError 503."""
    try:
        return action()
    except redis.RedisError:
        raise HttpError(503, "redis is not available", {"Retry-After": "2"}) from None


if __name__ == "__main__":
    serve(SERVICE, settings.require("PORT"), {
        ("GET", "/gateway/health"): health,
        ("GET", "/v1/health"): health,
        ("GET", "/v1/models"): models,
        ("GET", "/v1/runners"): list_runners,
        ("POST", "/v1/runners"): report_runner,
    })
