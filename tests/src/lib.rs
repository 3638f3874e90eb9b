//! Tests that cross programs live beside this file; the library itself is empty.
