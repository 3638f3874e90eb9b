//! Hold the deploy lock
