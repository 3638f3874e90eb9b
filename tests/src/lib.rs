//! Tests that cross programs live next to this file; the library itself is empty.
