//! The health gate and the checks from outside that judge a deployment.
