"""The platform's backend: the gateway, the B2B API, and the background jobs' worker and beat."""
