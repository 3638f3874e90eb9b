"""The API gateway: checks API keys, relays to the B2B API, keeps track of the runners."""
