//! Find the services that a commit changes
