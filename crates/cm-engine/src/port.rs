//! Ports of the host that containers have: a port can have one owner at a time.

use serde_json::Value;
use std::fmt;

/// One port, or a range of them, of the host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Port {
    /// The address it is bound to; empty for every address.
    pub address: String,
    /// The first port.
    pub first: u16,
    /// The last one; the same as the first where it is no range.
    pub last: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

impl Port {
    fn read(address: &str, ports: &str, protocol: &str) -> Option<Port> {
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        // Port 0 is any that is free.
        (first > 0).then(|| {
            let address = if matches!(address, "0.0.0.0" | "::") { "" } else { address };
            Port { address: address.to_owned(), first, last, protocol: protocol.to_owned() }
        })
    }

    /// Whether only one of the two can be had at a time.
    pub fn meets(&self, other: &Port) -> bool {
        let address = self.address.is_empty() || other.address.is_empty() || self.address == other.address;
        address && self.protocol == other.protocol && self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = if self.last == self.first { String::new() } else { format!("-{}", self.last) };
        let protocol = if self.protocol == "tcp" { String::new() } else { format!("/{}", self.protocol) };
        write!(f, "{}{last}{protocol}", self.first)
    }
}

/// Those that a service of the compose file publishes.
pub(crate) fn of_service(service: &Value) -> Vec<Port> {
    let text = |port: &Value, key: &str| match port.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let read = |port: &Value| {
        let protocol = text(port, "protocol");
        let protocol = if protocol.is_empty() { "tcp" } else { &protocol };
        Port::read(&text(port, "host_ip"), &text(port, "published"), protocol)
    };
    service.get("ports").and_then(Value::as_array).into_iter().flatten().filter_map(read).collect()
}

/// Those that a container is given when it runs, by `docker inspect`.
pub(crate) fn of_container(container: &Value) -> Vec<Port> {
    let bindings = container.pointer("/HostConfig/PortBindings").and_then(Value::as_object);
    let text = |binding: &Value, key: &str| binding.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let read = |(port, bindings): (&String, &Value)| -> Vec<Port> {
        let protocol = port.split_once('/').map_or("tcp", |(_, protocol)| protocol);
        let all = bindings.as_array().into_iter().flatten();
        all.filter_map(|binding| Port::read(&text(binding, "HostIp"), &text(binding, "HostPort"), protocol)).collect()
    };
    bindings.into_iter().flatten().flat_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_port_is_the_same_in_the_file_and_on_the_host() {
        let service = json!({"ports": [
            {"target": 80, "published": "8080", "protocol": "tcp"}, {"target": 53, "published": "53", "protocol": "udp", "host_ip": "127.0.0.1"},
            {"target": 9}, {"target": 10, "published": "0"}, {"target": 90, "published": "9000-9002"},
        ]});
        let container = json!({"HostConfig": {"PortBindings": {
            "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "53"}], "9/tcp": [{"HostPort": ""}],
        }}});
        let (published, bound) = (of_service(&service), of_container(&container));
        assert_eq!(published.iter().map(Port::to_string).collect::<Vec<_>>(), ["8080", "53/udp", "9000-9002"]);
        assert_eq!(bound.len(), 2);
        for port in &bound {
            assert_eq!(published.iter().filter(|other| other.meets(port)).count(), 1, "{port}");
        }
    }

    #[test]
    fn two_ports_meet_where_address_protocol_and_number_do() {
        let port = |address: &str, ports: &str, protocol: &str| Port::read(address, ports, protocol).expect("a port");
        assert!(port("", "80", "tcp").meets(&port("127.0.0.1", "79-81", "tcp")));
        for other in [port("", "81", "tcp"), port("", "80", "udp")] {
            assert!(!port("", "80", "tcp").meets(&other), "{other}");
        }
        assert!(!port("10.0.0.1", "80", "tcp").meets(&port("10.0.0.2", "80", "tcp")));
    }
}
