//! Verify a deployment from outside and judge the canary
