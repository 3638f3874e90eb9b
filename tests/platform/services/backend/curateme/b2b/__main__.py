"""The B2B API's routes. `/internal/*` is for the gateway: Caddy does not publish it."""

import threading

import pymongo.errors
from pymongo.write_concern import WriteConcern

from curateme import stores
from curateme.b2b import ops, seed
from curateme_common import settings
from curateme_common.http import HttpError, serve

SERVICE = "backend-b2b"

DATABASE = stores.mongo()
HEALTH = stores.Health(SERVICE, {"mongodb": lambda: DATABASE.command("ping")})


def health(_):
    """GET /api/v1/health: always 200 while the service serves; says whether the database is there."""
    return 200, HEALTH.report()


def models(_):
    """GET /internal/models: what the gateway publishes as /v1/models."""
    found = DATABASE.models.find({"enabled": True}, {"_id": 0, "id": 1, "owned_by": 1}).sort("id")
    return 200, {"object": "list", "data": [{"object": "model", **model} for model in found]}


def needs_database(handler):
    """Wrap `handler`: a database that is gone becomes HttpError 503."""

    def wrapped(request):
        try:
            return handler(request)
        except pymongo.errors.PyMongoError as error:
            print(f"{SERVICE} database: {str(error)[:200]}", flush=True)
            raise HttpError(503, "the database is not available", {"Retry-After": "2"}) from None

    return wrapped


if __name__ == "__main__":
    # 201 promises that the event stays: it is answered once the journal is on disk, so a crash loses none.
    history = DATABASE.get_collection("deploys", write_concern=WriteConcern(w=1, j=True))
    deploys = ops.Deploys(history, settings.require("OPS_API_TOKEN"))
    threading.Thread(target=seed.run, args=(DATABASE,), daemon=True).start()
    serve(SERVICE, settings.require("PORT"), {
        ("GET", "/api/v1/health"): health,
        ("GET", "/api/v1/ops/deploys"): needs_database(deploys.list),
        ("POST", "/api/v1/ops/deploys"): needs_database(deploys.add),
        ("GET", "/internal/models"): needs_database(models),
    })
