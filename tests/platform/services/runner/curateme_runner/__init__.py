"""The runner agent: runs on the second server and reports to the gateway."""
