echo
exec "$@"
