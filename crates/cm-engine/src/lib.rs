//! Docker Compose and Engine on a host, typed
