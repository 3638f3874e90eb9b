//! What each host runs and has run
