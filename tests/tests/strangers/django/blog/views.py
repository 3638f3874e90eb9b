import os

GREETING = "one"


def page(path):
    if path == "/health/":
        return 200, "ok"
    return 200, f"{GREETING} {os.environ['SECRET_KEY'][:3]}"
