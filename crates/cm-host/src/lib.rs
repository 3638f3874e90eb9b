//! Where it is deployed: one SSH session per host, commands as argument lists
