"""Settings from the environment.

A service that lacks a setting must not start half-working: `require` ends the process with a message
that names the variable and where it is set, and the container's restart count shows it.
"""

import os
import sys

#: The commit this image was built from; set by the image, "unknown" when the build did not say.
REVISION = os.environ.get("CM_REVISION", "unknown")


def require(name):
    """Return the variable `name`; exit with status 2 and a hint if it is missing or empty."""
    value = os.environ.get(name, "").strip()
    if not value:
        print(f"{name} is not set: add it to .env.production on this server", file=sys.stderr, flush=True)
        sys.exit(2)
    return value


def optional(name, default=""):
    """Return the variable `name`, or `default` if it is missing or empty."""
    return os.environ.get(name, "").strip() or default


def seconds(name, default):
    """Return the variable `name` as a positive number of seconds; exit with status 2 if it is not one."""
    text = optional(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 86400:
        print(f"{name}={text!r} is not a number of seconds between 0 and 86400", file=sys.stderr, flush=True)
        sys.exit(2)
    return value
