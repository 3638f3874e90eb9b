"""The B2B API: the customers' data, and the operations API that keeps the history of deploys."""
