//! Take a MongoDB backup and prove it
