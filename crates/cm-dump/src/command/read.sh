exec "$@" >&2
