//! Record a deployment and tell people
