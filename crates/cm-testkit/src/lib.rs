//! The test environment: hermetic homes and sandbox handles
