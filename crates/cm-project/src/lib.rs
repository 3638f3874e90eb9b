//! What is deployed: cm.toml, the compose file, services, groups, hosts, build inputs
