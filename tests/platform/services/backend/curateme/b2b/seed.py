"""The data the platform starts with: a few customers, their users and the models, with their indexes.

Every write is an upsert by the document's own key, so that running it at each start changes nothing.
"""

import time
from datetime import datetime, timezone

import pymongo.errors
from bson import Decimal128, Int64
from pymongo import ASCENDING, DESCENDING, UpdateOne

RETRY = 2  # seconds between attempts while the database is away
FOUNDED = datetime(2025, 1, 15, 9, 30, tzinfo=timezone.utc)

ORGANIZATIONS = [
    {"slug": "atelier-nord", "name": "Atelier Nord", "plan": "team", "balance": Decimal128("1249.90")},
    {"slug": "cafe-zuerich", "name": "Café Zürich", "plan": "free", "balance": Decimal128("0.00")},
    {"slug": "tsukiji-market", "name": "築地マーケット", "plan": "enterprise", "balance": Decimal128("98765.4321")},
]
MODELS = [
    {"id": "curate-large", "owned_by": "curate-me", "enabled": True, "context": Int64(200000)},
    {"id": "curate-small", "owned_by": "curate-me", "enabled": True, "context": Int64(32000)},
    {"id": "curate-preview", "owned_by": "curate-me", "enabled": False, "context": Int64(1000000)},
]
USERS_PER_ORGANIZATION = 20
DAY = 24 * 3600


def run(database):
    """Seed `database`, trying again until it is there. Runs on a thread of its own."""
    while True:
        try:
            _indexes(database)
            _documents(database)
            print("backend-b2b seed data is in place", flush=True)
            return
        except pymongo.errors.PyMongoError as error:
            print(f"backend-b2b seed waits for the database: {str(error)[:120]}", flush=True)
            time.sleep(RETRY)


def _indexes(database):
    database.organizations.create_index("slug", unique=True)
    database.users.create_index("email", unique=True)
    database.users.create_index([("organization", ASCENDING), ("created_at", DESCENDING)])
    database.models.create_index("id", unique=True)
    database.deploys.create_index([("received_at", DESCENDING)])
    database.job_runs.create_index("finished_at", expireAfterSeconds=7 * DAY)


def _documents(database):
    created = {"created_at": FOUNDED}
    _upsert(database.organizations, "slug", [{**each, **created} for each in ORGANIZATIONS])
    _upsert(database.models, "id", MODELS)
    _upsert(database.users, "email", [
        {
            "email": f"user{number}@{organization['slug']}.example",
            "organization": organization["slug"],
            "roles": ["member", "admin"] if number == 0 else ["member"],
            "settings": {"locale": "en", "notifications": {"email": number % 2 == 0, "push": None}},
            **created,
        }
        for organization in ORGANIZATIONS
        for number in range(USERS_PER_ORGANIZATION)
    ])


def _upsert(collection, key, documents):
    """Insert each document unless one with the same `key` is there."""
    collection.bulk_write([
        UpdateOne({key: document[key]}, {"$setOnInsert": document}, upsert=True) for document in documents
    ])
