//! The deploy lock as programs meet it, on this machine and on hosts.
