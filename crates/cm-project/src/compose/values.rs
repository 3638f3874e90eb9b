//! Values of a service that Compose cannot read: lengths of time, ports, command lines, devices. It reads the whole file
//! before it chooses services, so that one which no profile starts is refused as well.

use super::Warning;
use super::format::{is_command_line, is_time};
use super::load::Loader;
use crate::yaml::{Node, Yaml};

/// Warns of values in the merged tree `root` that Compose cannot read.
pub fn check(root: &Node, loader: &mut Loader) {
    for (name, node) in root.get("services").map_or(&[][..], Node::pairs) {
        let mut check = Check { name, node, loader };
        check.times();
        check.addresses();
        check.mounts();
        check.commands();
        check.words();
        check.devices();
    }
}

/// Values in the merged tree `root` that mean one thing to one version of Compose and another to the next.
pub fn by_version(root: &Node) -> Vec<Warning> {
    let mut found = Vec::new();
    for (name, node) in root.get("services").map_or(&[][..], Node::pairs) {
        for section in ["configs", "secrets"] {
            for (index, used) in node.get(section).map_or(&[][..], Node::items).iter().enumerate() {
                let Some(mode) = used.get("mode").filter(|mode| !mode.is_open()) else { continue };
                let Yaml::Text(text) = &mode.value else { continue };
                // A single digit is the same number either way.
                let (Ok(octal), Ok(decimal)) = (u32::from_str_radix(text, 8), text.parse::<u32>()) else { continue };
                if octal != decimal {
                    let message = format!(
                        "services.{name}.{section}[{index}].mode is text: Docker Compose 2.40 reads it as 0{octal:o}, and 2.26 as the \
                         decimal number, 0{decimal:o}; without the quotes, both read 0{octal:o} as it is"
                    );
                    found.push(Warning { at: mode.at.clone(), message, service: Some(name.clone()) });
                }
            }
        }
    }
    found
}

struct Check<'a, 'b, 'c> {
    name: &'a str,
    node: &'a Node,
    loader: &'b mut Loader<'c>,
}

impl<'a> Check<'a, '_, '_> {
    fn warn(&mut self, at: &Node, message: String) {
        self.loader.warn(&at.at, None, format!("Compose refuses the service {}: {message}", self.name));
    }

    fn items(&self, key: &str) -> &'a [Node] {
        self.node.get(key).map_or(&[][..], Node::items)
    }

    fn times(&mut self) {
        let node = self.node;
        let keys = ["interval", "timeout", "start_period", "start_interval"];
        let times = node.get("healthcheck").into_iter().flat_map(|check| keys.iter().filter_map(|key| check.get(key)));
        for time in times.chain(node.get("stop_grace_period")) {
            let text = time.text().unwrap_or_default();
            if !time.is_open() && !is_time(&text) {
                self.warn(time, format!("{text:?} is not a length of time such as 10s"));
            }
        }
    }

    fn addresses(&mut self) {
        for port in self.items("ports") {
            if let Some(text) = port.text().filter(|text| !port.is_open() && !is_port(text)) {
                self.warn(port, format!("{text:?} is not a port"));
            }
        }
        for host in self.items("extra_hosts") {
            if let Yaml::Text(text) = &host.value
                && !host.is_open()
                && !text.contains(['=', ':'])
            {
                self.warn(host, format!("{text:?} in extra_hosts has no address"));
            }
        }
    }

    /// Mounts in the short form.
    fn mounts(&mut self) {
        for mount in self.items("volumes").iter().filter(|mount| !mount.is_open()) {
            let Yaml::Text(text) = &mount.value else { continue };
            let is_drive = text.len() > 2 && text.as_bytes()[1] == b':' && matches!(text.as_bytes()[2], b'\\' | b'/');
            let parts = text.split(':').count() - usize::from(is_drive);
            if parts > 3 {
                self.warn(mount, format!("{text:?} in volumes has more than source, target and options"));
            } else if parts > 1 && text.split(':').any(str::is_empty) {
                self.warn(mount, format!("{text:?} in volumes has an empty part"));
            }
        }
    }

    fn commands(&mut self) {
        for key in ["command", "entrypoint"] {
            let is_broken = |at: &&Node| !at.is_open() && at.text().is_some_and(|text| !is_command_line(&text));
            if let Some(at) = self.node.get(key).filter(is_broken) {
                self.warn(at, format!("a quote in {key} has no end"));
            }
        }
    }

    fn words(&mut self) {
        let node = self.node;
        for (_, how) in node.get("depends_on").map_or(&[][..], Node::pairs) {
            let condition = how.get("condition").and_then(Node::text);
            if let Some(other) = condition.filter(|text| !CONDITIONS.contains(&text.as_str())) {
                self.warn(how, format!("depends_on knows no condition {other:?}"));
            }
        }
        let policy = node.get("pull_policy").filter(|policy| !policy.is_open());
        if let Some((at, text)) = policy.and_then(|policy| Some((policy, policy.text()?)))
            && !is_policy(&text)
        {
            self.warn(at, format!("{text:?} is not a pull_policy"));
        }
    }

    /// Devices of the host.
    fn devices(&mut self) {
        let deploy = self.node.get("deploy");
        let reserved = deploy.and_then(|deploy| deploy.get("resources")?.get("reservations")?.get("devices"));
        for gpu in self.items("gpus").iter().chain(reserved.map_or(&[][..], Node::items)) {
            if gpu.get("count").is_some() && gpu.get("device_ids").is_some() {
                self.warn(gpu, "count and device_ids of a device exclude each other".to_owned());
            }
        }
        for device in self.items("devices") {
            if device.text().is_some_and(|text| !device.is_open() && text.split(':').count() > 3) {
                self.warn(device, "a device has more than source, target and permissions".to_owned());
            }
        }
    }
}

const CONDITIONS: [&str; 3] = ["service_started", "service_healthy", "service_completed_successfully"];

fn is_policy(text: &str) -> bool {
    let known = ["always", "never", "build", "if_not_present", "missing", "refresh", "daily", "weekly"];
    let every = |rest: &str| {
        let parts = rest.split_inclusive(|c: char| !c.is_ascii_digit());
        !rest.is_empty() && parts.clone().all(|part| part.len() > 1 && part.ends_with(['w', 'd', 'h', 'm', 's']))
    };
    known.contains(&text) || text.strip_prefix("every_").is_some_and(every)
}

/// `[ADDRESS:][PUBLISHED:]TARGET[/PROTOCOL]`, each a number or a range.
fn is_port(text: &str) -> bool {
    let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let number = |text: &str| text.parse::<u16>().is_ok();
    let range = |text: &str| match text.split_once('-') {
        Some((low, high)) => number(low) && number(high) && low.parse::<u16>().ok() <= high.parse().ok(),
        None => number(text),
    };
    let width = |text: &str| {
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        low.parse::<i32>().ok().zip(high.parse::<i32>().ok()).map(|(low, high)| high - low)
    };
    let mut parts = rest.rsplitn(3, ':');
    let own = parts.next().unwrap_or_default();
    let target = range(own);
    // Several ports of the host may be one container port's.
    let as_many = |text: &str| width(own) == Some(0) || width(text) == width(own);
    let published = parts.next().is_none_or(|text| text.is_empty() || (range(text) && as_many(text)));
    let address = parts.next().unwrap_or_default();
    let address = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let known = address.is_empty() || address.parse::<std::net::IpAddr>().is_ok();
    target && published && known && matches!(protocol.to_ascii_lowercase().as_str(), "tcp" | "udp" | "sctp")
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::super::tests::warned;
    use crate::tree::Memory;

    #[test]
    fn a_value_that_compose_cannot_read_is_named_whether_or_not_a_profile_starts_the_service() {
        for (keys, wanted) in [
            ("healthcheck: {test: 'x', interval: soon}", "\"soon\" is not a length of time such as 10s"),
            ("ports: ['abc:80']", "\"abc:80\" is not a port"),
            ("ports: ['999.1.1.1:80:80']", "\"999.1.1.1:80:80\" is not a port"),
            ("ports: ['8000-8003:80-81']", "\"8000-8003:80-81\" is not a port"),
            ("ports: ['80:99999']", "\"80:99999\" is not a port"),
            ("volumes: ['./a:/b:ro:z']", "\"./a:/b:ro:z\" in volumes has more than source, target and options"),
            ("volumes: ['./a:']", "\"./a:\" in volumes has an empty part"),
            ("command: \"echo 'a\"", "a quote in command has no end"),
            ("extra_hosts: [db]", "\"db\" in extra_hosts has no address"),
            ("pull_policy: every_1x", "\"every_1x\" is not a pull_policy"),
            ("pull_policy: sometimes", "\"sometimes\" is not a pull_policy"),
            ("gpus: [{count: 1, device_ids: [a]}]", "count and device_ids of a device exclude each other"),
            ("devices: ['a:b:c:d']", "a device has more than source, target and permissions"),
        ] {
            for profiles in ["", ", profiles: [some]"] {
                let text = format!("services:\n  a: {{image: x, {keys}{profiles}}}\n");
                assert_eq!(warned(&text), [format!("2 Compose refuses the service a: {wanted}")], "{keys}");
                let files = Memory::of(&[("c.yml", text.as_str())]);
                let compose = load(&files, &["c.yml".to_owned()], &[]).expect("read");
                assert_eq!(compose.warnings[0].service, None, "it is no matter of a service that starts: {keys}");
            }
        }
    }
}
