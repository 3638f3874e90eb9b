"""Relaying a request to a service inside the platform's network."""

import json
import urllib.error
import urllib.request

from curateme_common.http import HttpError

RELAY_TIMEOUT = 4  # seconds


def relay(url):
    """GET `url` and return (status, JSON body). Raises HttpError 502 if there is no usable answer."""
    try:
        with urllib.request.urlopen(url, timeout=RELAY_TIMEOUT) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        raise HttpError(error.code, f"the service behind the gateway answered {error.code}") from None
    except (OSError, ValueError):
        raise HttpError(502, "the service behind the gateway does not answer") from None
