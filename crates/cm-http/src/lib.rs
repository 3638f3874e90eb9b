//! The HTTP client of verification and notification
