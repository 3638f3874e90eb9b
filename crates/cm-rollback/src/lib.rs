//! Go back to the last verified release
