//! A checkout on a host moved to a commit, its protected files untouched.
