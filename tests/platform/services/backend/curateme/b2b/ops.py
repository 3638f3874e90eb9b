"""The operations API: the history of deploys, each event stored once.

The idempotency key is the event's `_id`. That index is unique in every MongoDB from the first moment, so
two requests at once with the same key cannot both store their event.
"""

from datetime import datetime, timezone

import bson.errors
import pymongo
import pymongo.errors

from curateme_common.http import HttpError, same_secret

MAX_KEY = 200  # characters
MAX_LISTED = 500


class Deploys:
    """Handlers over `collection`, open to bearers of `token`."""

    def __init__(self, collection, token):
        self._collection, self._token = collection, token

    def add(self, request):
        """POST: 201 when the event is stored, 200 when its key was stored before (the first event stays)."""
        self._authorise(request)
        key = request.headers.get("Idempotency-Key", "").strip()
        if not 0 < len(key) <= MAX_KEY:
            raise HttpError(400, f"the header Idempotency-Key needs 1 to {MAX_KEY} characters")
        event = request.json_object()
        return (201 if self._store(key, event) else 200), {"key": key}

    def list(self, request):
        """GET: the newest events first; `?limit=N`, 100 unless told."""
        self._authorise(request)
        text = request.query.get("limit", ["100"])[-1]
        if not text.isascii() or not text.isdigit() or not 0 < int(text) <= MAX_LISTED:
            raise HttpError(400, f"limit is not a number from 1 to {MAX_LISTED}")
        found = self._collection.find().sort("received_at", pymongo.DESCENDING).limit(int(text))
        return 200, {"deploys": [_listed(stored) for stored in found]}

    def _authorise(self, request):
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not same_secret(token.strip(), self._token):
            raise HttpError(401, "a valid bearer token is needed", {"WWW-Authenticate": "Bearer"})

    def _store(self, key, event):
        """Store `event` under `key`; False if the key is taken. Raises HttpError 400 for what BSON cannot hold."""
        stored = {"_id": key, "received_at": datetime.now(timezone.utc), "event": event}
        try:
            self._collection.insert_one(stored)
        except pymongo.errors.DuplicateKeyError:
            return False
        except (bson.errors.BSONError, OverflowError, RecursionError):
            raise HttpError(400, "the event holds a value that cannot be stored") from None
        return True


def _listed(stored):
    return {
        "key": stored["_id"],
        "received_at": stored["received_at"].isoformat(),
        "event": stored["event"],
    }
