//! Say whether services are healthy
