//! What Compose refuses although every key is right: names that lead nowhere, dependencies
//! in a circle, values that exclude each other. Compose looks at the services that it
//! starts; each warning names its service, so that whoever knows the profiles can choose.

use super::canonical::nanoseconds;
use super::format::is_command_line;
use super::load::Loader;
use super::merge::mount_target;
use crate::yaml::{Node, Yaml};
use std::collections::BTreeSet;

/// Warns of what in the merged tree `root` does not fit together.
pub fn check(root: &Node, loader: &mut Loader) {
    let services = root.get("services").map_or(&[][..], Node::pairs);
    for (name, node) in services {
        let mut check = Check { root, name, node, loader };
        check.image();
        check.resources();
        check.networks();
        check.counts();
        check.targets();
        check.values();
        check.devices();
    }
    for (section, ways) in [("configs", &["file", "environment", "content"][..]), ("secrets", &["file", "environment"])]
    {
        for (name, node) in root.get(section).map_or(&[][..], Node::pairs) {
            one_of(section, name, node, ways, loader);
        }
    }
    external(root, loader);
    circle(services, loader);
}

/// A config or secret says once where it comes from.
fn one_of(section: &str, name: &str, node: &Node, ways: &[&str], loader: &mut Loader) {
    let said = ways.iter().filter(|way| node.get(way).is_some()).count();
    let external = node.get("external").is_some() || node.get("driver").is_some();
    if said > 1 || (said == 0 && !external) {
        let message = format!("Compose wants exactly one of {} in {section}.{name}", ways.join(", "));
        loader.warn(&node.at, None, message);
    }
}

/// What exists already has no settings of its own, and one name.
fn external(root: &Node, loader: &mut Loader) {
    for section in ["networks", "volumes", "configs", "secrets"] {
        for (name, node) in root.get(section).map_or(&[][..], Node::pairs) {
            let Some(external) = node.get("external").filter(|external| external.value != Yaml::Bool(false)) else {
                continue;
            };
            let mut refuse = |at: &Node, what: String| {
                loader.warn(&at.at, None, format!("Compose refuses {section}.{name}: {what}"));
            };
            for key in ["driver", "driver_opts", "labels"].iter().filter(|_| section == "volumes") {
                node.get(key).into_iter().for_each(|at| refuse(at, format!("external and {key} exclude each other")));
            }
            let (own, other) = (node.get("name").and_then(Node::text), external.get("name").and_then(Node::text));
            if own.is_some() && other.is_some() && own != other {
                refuse(external, "it has two names, name and external.name".to_owned());
            }
        }
    }
}

struct Check<'a, 'b, 'c> {
    root: &'a Node,
    name: &'a str,
    node: &'a Node,
    loader: &'b mut Loader<'c>,
}

impl<'a> Check<'a, '_, '_> {
    fn warn(&mut self, at: &Node, message: String) {
        self.loader.warn(&at.at, Some(self.name), format!("Compose refuses the service {}: {message}", self.name));
    }

    fn text(&self, key: &str) -> Option<String> {
        self.node.get(key).and_then(Node::text)
    }

    fn has(&self, section: &str, name: &str) -> bool {
        self.root.get(section).is_some_and(|all| all.pairs().iter().any(|(known, _)| known == name))
    }

    fn image(&mut self) {
        let node = self.node;
        let said = |key: &&str| {
            node.get(key).is_some_and(|value| value.is_open() || value.text().is_none_or(|text| !text.is_empty()))
        };
        if !["image", "build", "provider"].iter().any(said) {
            return self.warn(node, "it has neither an image nor a build".to_owned());
        }
        if let Some(build) = node.get("build")
            && let (Some(_), Some(inline)) = (build.get("dockerfile"), build.get("dockerfile_inline"))
        {
            self.warn(inline, "dockerfile and dockerfile_inline exclude each other".to_owned());
        }
        let platforms =
            node.get("build").and_then(|build| build.get("platforms")).filter(|all| !all.items().is_empty());
        if let (Some(platforms), Some(own)) = (platforms, self.text("platform"))
            && !platforms.items().iter().any(|one| one.is_open() || one.text().as_ref() == Some(&own))
        {
            self.warn(platforms, format!("build.platforms has to have its platform, {own}"));
        }
    }

    /// Volumes, configs and secrets that are not there.
    fn resources(&mut self) {
        let node = self.node;
        let items = |node: &'a Node, key: &str| node.get(key).map_or(&[][..], Node::items);
        for volume in items(node, "volumes") {
            if !volume.is_open() && volume.text().is_some_and(|text| text.is_empty()) {
                self.warn(volume, "an entry of volumes is empty".to_owned());
            }
            let kind = volume.get("type").and_then(Node::text);
            if kind.as_deref() == Some("bind") && volume.get("source").is_none() {
                self.warn(volume, "a volume of type bind has no source".to_owned());
            }
            if let Some(name) = volume_name(volume).filter(|name| !self.has("volumes", name)) {
                self.warn(volume, format!("there is no volume {name:?}"));
            }
        }
        for (name, at) in node.get("models").map_or(&[][..], Node::pairs) {
            if !self.has("models", name) {
                self.warn(at, format!("there is no model {name:?}"));
            }
        }
        for section in ["configs", "secrets"] {
            let of_build = node.get("build").map_or(&[][..], |build| items(build, section));
            for item in items(node, section).iter().chain(of_build) {
                let name = item.get("source").unwrap_or(item);
                if let Some(name) = name.text().filter(|name| !item.is_open() && !self.has(section, name)) {
                    self.warn(item, format!("there is no {} {name:?}", section.trim_end_matches('s')));
                }
            }
        }
    }

    /// Devices of the host, and what is synchronised while people develop.
    fn devices(&mut self) {
        let node = self.node;
        let items = |node: Option<&'a Node>| node.map_or(&[][..], Node::items);
        let reserved =
            node.get("deploy").and_then(|deploy| deploy.get("resources")?.get("reservations")?.get("devices"));
        for gpu in items(node.get("gpus")).iter().chain(items(reserved)) {
            if gpu.get("count").is_some() && gpu.get("device_ids").is_some() {
                self.warn(gpu, "count and device_ids of a device exclude each other".to_owned());
            }
        }
        for device in items(node.get("devices")) {
            if device.text().is_some_and(|text| !device.is_open() && text.split(':').count() > 3) {
                self.warn(device, "a device has more than source, target and permissions".to_owned());
            }
        }
        for watch in items(node.get("develop").and_then(|develop| develop.get("watch"))) {
            let action = watch.get("action").and_then(Node::text).unwrap_or_default();
            if action.starts_with("sync") && watch.get("target").is_none() {
                self.warn(watch, format!("{action} of develop.watch has no target"));
            }
        }
    }

    fn networks(&mut self) {
        let node = self.node;
        let networks = node.get("networks").map_or(&[][..], Node::pairs);
        for (name, network) in networks.iter().filter(|(name, _)| name != "default") {
            if !self.has("networks", name) {
                self.warn(network, format!("there is no network {name:?}"));
            }
        }
        if let Some(mode) = node.get("network_mode").filter(|_| !networks.is_empty()) {
            self.warn(mode, "network_mode and networks exclude each other".to_owned());
        }
        for key in ["network_mode", "ipc", "pid", "uts"] {
            let Some(at) = node.get(key) else { continue };
            let other = at.text().and_then(|text| text.strip_prefix("service:").map(str::to_owned));
            if let Some(other) = other.filter(|other| !self.has("services", other)) {
                self.warn(at, format!("there is no service {other:?} for its {key}"));
            }
        }
        for key in ["links", "volumes_from"] {
            for item in node.get(key).map_or(&[][..], Node::items) {
                let text = item.text().unwrap_or_default();
                let other = text.split(':').next().unwrap_or_default();
                if other != "container" && !item.is_open() && !self.has("services", other) {
                    self.warn(item, format!("there is no service {other:?} for its {key}"));
                }
            }
        }
    }

    fn counts(&mut self) {
        let node = self.node;
        let replicas = node.get("deploy").and_then(|deploy| deploy.get("replicas"));
        let number = |node: Option<&Node>| node.and_then(Node::text).and_then(|text| text.parse::<i64>().ok());
        let (scale, replicas_count) = (number(node.get("scale")), number(replicas));
        if let (Some(a), Some(b)) = (scale, replicas_count)
            && a != b
        {
            self.warn(node, "scale and deploy.replicas differ".to_owned());
        }
        if let Some(name) = node.get("container_name").filter(|_| scale.or(replicas_count).is_some_and(|n| n > 1)) {
            self.warn(name, "several containers cannot have one container_name".to_owned());
        }
        for (key, limit) in [("cpus", "cpus"), ("mem_limit", "memory"), ("pids_limit", "pids")] {
            let limits = node.get("deploy").and_then(|deploy| deploy.get("resources")?.get("limits")?.get(limit));
            if let (Some(own), Some(limits)) = (node.get(key), limits)
                && own.text() != limits.text()
            {
                self.warn(own, format!("{key} and deploy.resources.limits.{limit} differ"));
            }
        }
    }

    /// Two things at one place of the container.
    fn targets(&mut self) {
        let mut seen = BTreeSet::new();
        let of = |key: &str| self.node.get(key).map_or(&[][..], Node::items);
        let all = of("tmpfs").iter().map(|item| (item, item.text().map(|text| first(&text))));
        let volumes = of("volumes").iter().map(|item| (item, target(item)));
        for (item, place) in all.chain(volumes).collect::<Vec<_>>() {
            if let Some(place) = place.filter(|place| !place.is_empty())
                && !seen.insert(place.clone())
            {
                self.warn(item, format!("something is mounted at {place} already"));
            }
        }
    }

    fn values(&mut self) {
        let node = self.node;
        if let Some(test) = node.get("healthcheck").and_then(|check| check.get("test"))
            && let Some(first) = test.items().first().and_then(Node::text)
            && !matches!(first.as_str(), "CMD" | "CMD-SHELL" | "NONE")
        {
            self.warn(test, "healthcheck.test must begin with CMD, CMD-SHELL or NONE".to_owned());
        }
        let keys = ["interval", "timeout", "start_period", "start_interval"];
        let times = node.get("healthcheck").into_iter().flat_map(|check| keys.iter().filter_map(|key| check.get(key)));
        for time in times.chain(node.get("stop_grace_period")).collect::<Vec<_>>() {
            let text = time.text().unwrap_or_default();
            if !time.is_open() && nanoseconds(&text).is_none() && text != "0" {
                self.warn(time, format!("{text:?} is not a length of time such as 10s"));
            }
        }
        for (_, how) in node.get("depends_on").map_or(&[][..], Node::pairs) {
            let condition = how.get("condition").and_then(Node::text);
            if let Some(other) = condition.filter(|text| !CONDITIONS.contains(&text.as_str())) {
                self.warn(how, format!("depends_on knows no condition {other:?}"));
            }
        }
        for port in node.get("ports").map_or(&[][..], Node::items) {
            if let Some(text) = port.text().filter(|text| !port.is_open() && !is_port(text)) {
                self.warn(port, format!("{text:?} is not a port"));
            }
        }
        for host in node.get("extra_hosts").map_or(&[][..], Node::items) {
            if let Some(text) = host.text().filter(|text| !host.is_open() && !text.contains(['=', ':'])) {
                self.warn(host, format!("{text:?} in extra_hosts has no address"));
            }
        }
        for key in ["command", "entrypoint"] {
            if let Some(at) =
                node.get(key).filter(|at| !at.is_open() && at.text().is_some_and(|text| !is_command_line(&text)))
            {
                self.warn(at, format!("a quote in {key} has no end"));
            }
        }
        let policy = node.get("pull_policy").filter(|policy| !policy.is_open());
        if let Some(text) = self.text("pull_policy").filter(|text| !is_policy(text))
            && let Some(at) = policy
        {
            self.warn(at, format!("{text:?} is not a pull_policy"));
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

fn first(text: &str) -> String {
    text.split(':').next().unwrap_or_default().to_owned()
}

fn target(volume: &Node) -> Option<String> {
    match &volume.value {
        Yaml::Text(text) => Some(mount_target(text).to_owned()).filter(|_| !volume.is_open()),
        _ => volume.get("target").and_then(Node::text),
    }
}

/// The project's volume that an entry of `volumes` names.
fn volume_name(volume: &Node) -> Option<String> {
    if volume.is_open() {
        return None;
    }
    let name = match &volume.value {
        Yaml::Text(text) => text.split_once(':').map(|(source, _)| source.to_owned())?,
        _ => volume
            .get("source")
            .and_then(Node::text)
            .filter(|_| volume.get("type").and_then(Node::text).is_some_and(|kind| kind == "volume"))?,
    };
    let is_drive = name.len() == 1 && matches!(volume.value, Yaml::Text(_));
    (!name.is_empty() && !name.starts_with(['.', '/', '~', '\\']) && !is_drive).then_some(name)
}

/// Services that wait for each other.
fn circle(services: &[(String, Node)], loader: &mut Loader) {
    let mut done = BTreeSet::new();
    for (name, node) in services {
        let mut path = Vec::new();
        if let Some(circle) = walk(name, services, &mut path, &mut done) {
            let message =
                format!("Compose refuses services that depend on each other in a circle: {}", circle.join(" → "));
            loader.warn(&node.at, Some(name), message);
            return;
        }
    }
}

fn walk(
    name: &str,
    services: &[(String, Node)],
    path: &mut Vec<String>,
    done: &mut BTreeSet<String>,
) -> Option<Vec<String>> {
    if let Some(start) = path.iter().position(|known| known == name) {
        return Some(path[start..].iter().cloned().chain([name.to_owned()]).collect());
    }
    if done.contains(name) {
        return None;
    }
    let (_, node) = services.iter().find(|(known, _)| known == name)?;
    path.push(name.to_owned());
    let found = needed(node).iter().find_map(|other| walk(other, services, path, done));
    path.pop();
    done.insert(name.to_owned());
    found
}

/// The services that one needs before it starts.
fn needed(node: &Node) -> Vec<String> {
    let mut names: Vec<String> =
        node.get("depends_on").map_or(&[][..], Node::pairs).iter().map(|(name, _)| name.clone()).collect();
    for key in ["links", "volumes_from"] {
        let items = node.get(key).map_or(&[][..], Node::items).iter().filter_map(Node::text);
        names.extend(items.map(|text| first(&text)));
    }
    for key in ["network_mode", "ipc", "pid", "uts"] {
        let other = node.get(key).and_then(Node::text);
        names.extend(other.and_then(|text| text.strip_prefix("service:").map(str::to_owned)));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::super::tests::warned;

    #[test]
    fn what_does_not_fit_together_has_its_line() {
        for (keys, wanted) in [
            ("networks: [back]", "there is no network \"back\""),
            ("volumes: ['data:/d']", "there is no volume \"data\""),
            ("volumes: [{type: volume, source: data, target: /d}]", "there is no volume \"data\""),
            ("configs: [c]", "there is no config \"c\""),
            ("secrets: [{source: s}]", "there is no secret \"s\""),
            ("network_mode: 'service:b'", "there is no service \"b\" for its network_mode"),
            ("links: ['b:c']", "there is no service \"b\" for its links"),
            ("network_mode: host, networks: [default]", "network_mode and networks exclude each other"),
            ("healthcheck: {test: [curl, x]}", "healthcheck.test must begin with CMD, CMD-SHELL or NONE"),
            ("healthcheck: {test: 'x', interval: soon}", "\"soon\" is not a length of time such as 10s"),
            ("scale: 2, deploy: {replicas: 3}", "scale and deploy.replicas differ"),
            ("scale: 2, container_name: one", "several containers cannot have one container_name"),
            (
                "mem_limit: 1g, deploy: {resources: {limits: {memory: 2g}}}",
                "mem_limit and deploy.resources.limits.memory differ",
            ),
            ("ports: ['abc:80']", "\"abc:80\" is not a port"),
            ("ports: ['999.1.1.1:80:80']", "\"999.1.1.1:80:80\" is not a port"),
            ("ports: ['8000-8003:80-81']", "\"8000-8003:80-81\" is not a port"),
            ("command: \"echo 'a\"", "a quote in command has no end"),
            ("extra_hosts: [db]", "\"db\" in extra_hosts has no address"),
            ("pull_policy: every_1x", "\"every_1x\" is not a pull_policy"),
            ("gpus: [{count: 1, device_ids: [a]}]", "count and device_ids of a device exclude each other"),
            ("devices: ['a:b:c:d']", "a device has more than source, target and permissions"),
            ("develop: {watch: [{action: sync, path: .}]}", "sync of develop.watch has no target"),
            ("volumes: [{type: bind, target: /d}]", "a volume of type bind has no source"),
            ("volumes: [{type: volume, source: v, target: /d}]", "there is no volume \"v\""),
            ("uts: 'service:b'", "there is no service \"b\" for its uts"),
            ("models: [m]", "there is no model \"m\""),
            (
                "platform: linux/arm64, build: {context: ., platforms: [linux/amd64]}",
                "build.platforms has to have its platform, linux/arm64",
            ),
            ("ports: ['80:99999']", "\"80:99999\" is not a port"),
            ("tmpfs: [/d], volumes: ['./d:/d']", "something is mounted at /d already"),
            ("pull_policy: sometimes", "\"sometimes\" is not a pull_policy"),
        ] {
            let text = format!("services:\n  a: {{image: x, {keys}}}\n");
            assert_eq!(warned(&text), [format!("2 Compose refuses the service a: {wanted}")], "{keys}");
        }
        assert_eq!(
            warned("services:\n  a: {restart: always}\n"),
            ["2 Compose refuses the service a: it has neither an image nor a build"]
        );
        let circle = "services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, links: [c]}\n  c: {image: x, network_mode: 'service:a'}\n";
        assert_eq!(warned(circle), ["2 Compose refuses services that depend on each other in a circle: a → b → c → a"]);
        for (section, wanted) in [
            ("networks: {n: {name: x, external: {name: y}}}", "networks.n: it has two names, name and external.name"),
            ("volumes: {v: {external: true, labels: {a: b}}}", "volumes.v: external and labels exclude each other"),
        ] {
            let text = format!("services:\n  a: {{image: x}}\n{section}\n");
            assert_eq!(warned(&text), [format!("3 Compose refuses {wanted}")], "{section}");
        }
        let both = "services:\n  a: {image: x}\nsecrets:\n  s: {file: x, environment: X}\n";
        assert_eq!(warned(both), ["4 Compose wants exactly one of file, environment in secrets.s"]);
    }

    #[test]
    fn what_compose_takes_is_no_warning() {
        for keys in [
            "volumes: [data, './a:/a', '/x:/x', '${V}:/v'], networks: [default]",
            "ports: ['80', '8080:80', '127.0.0.1::80', '3000-3005:3000-3005/udp', '[::1]:80:80', '${P}:80']",
            "healthcheck: {test: [CMD, x], interval: 1m30s, timeout: '${T:-5s}'}, volumes_from: ['container:x']",
            "depends_on: {b: {condition: service_completed_successfully}}, pull_policy: every_12h",
        ] {
            let text = format!("services:\n  a: {{image: x, {keys}}}\n  b: {{image: y}}\nvolumes: {{data: }}\n");
            assert_eq!(
                warned(&text).iter().filter(|text| !text.contains("only the server")).count(),
                0,
                "{:?}",
                warned(&text)
            );
        }
    }
}
