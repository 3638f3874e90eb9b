//! What Compose refuses although every key is right: names that lead nowhere, dependencies
//! in a circle, values that exclude each other. Compose looks at the services that it
//! starts; each warning names its service, so that whoever knows the profiles can choose.

use super::format;
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
        check.test();
        check.watched();
        check.contexts();
    }
    for (section, ways) in [("configs", &["file", "environment", "content"][..]), ("secrets", &["file", "environment"])]
    {
        for (name, node) in root.get(section).map_or(&[][..], Node::pairs) {
            one_of(section, name, node, ways, loader);
        }
    }
    external(root, loader);
    container_names(services, loader);
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
            let Some(external) = node.get("external").filter(|external| !external.is_false()) else {
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

/// Two services that start together cannot have one container name.
fn container_names(services: &[(String, Node)], loader: &mut Loader) {
    let profiles = |node: &Node| node.get("profiles").map(Node::to_json);
    for (index, (name, node)) in services.iter().enumerate() {
        let Some(own) = node.get("container_name").filter(|own| !own.is_open()) else { continue };
        let has_it = |(_, other): &&(String, Node)| {
            other.get("container_name").is_some_and(|theirs| !theirs.is_open() && theirs == own)
        };
        let Some((other, theirs)) = services[..index].iter().find(has_it) else { continue };
        // It matters where the one of them starts that not all profiles do.
        let about = match (profiles(theirs), profiles(node)) {
            (Some(_), None) => other,
            (Some(one), Some(two)) if one != two => continue,
            _ => name,
        };
        let message = format!("Compose refuses the service {name}: {other} has its container_name as well");
        loader.warn(&own.at, Some(about), message);
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

    fn test(&mut self) {
        if let Some(test) = self.node.get("healthcheck").and_then(|check| check.get("test"))
            && let Some(first) = test.items().first().and_then(Node::text)
            && !matches!(first.as_str(), "CMD" | "CMD-SHELL" | "NONE")
        {
            self.warn(test, "healthcheck.test must begin with CMD, CMD-SHELL or NONE".to_owned());
        }
    }

    /// What is synchronised while people develop.
    fn watched(&mut self) {
        let watch = self.node.get("develop").and_then(|develop| develop.get("watch"));
        for watch in watch.map_or(&[][..], Node::items) {
            let action = watch.get("action").and_then(Node::text).unwrap_or_default();
            if action.starts_with("sync") && watch.get("target").is_none() {
                self.warn(watch, format!("{action} of develop.watch has no target"));
            }
        }
    }

    /// Images of other services that its own is built on.
    fn contexts(&mut self) {
        let contexts = self.node.get("build").and_then(|build| build.get("additional_contexts"));
        for (_, at) in contexts.map_or(&[][..], Node::pairs) {
            let text = at.text().unwrap_or_default();
            let Some(other) = text.strip_prefix("service:").filter(|_| !at.is_open()) else { continue };
            let service = self.root.get("services").and_then(|services| services.get(other));
            if service.is_some_and(|service| service.get("build").is_none()) {
                self.warn(at, format!("it is built on the image of {other}, which has no build"));
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
        for (key, section, limit) in [
            ("cpus", "limits", "cpus"),
            ("mem_limit", "limits", "memory"),
            ("mem_reservation", "reservations", "memory"),
            ("pids_limit", "limits", "pids"),
        ] {
            let limits = node.get("deploy").and_then(|deploy| deploy.get("resources")?.get(section)?.get(limit));
            let amount = |node: &Node| node.text().and_then(|text| format::bytes(&text));
            if let (Some(own), Some(limits)) = (node.get(key), limits)
                && own.text() != limits.text()
                && amount(own) != amount(limits)
            {
                self.warn(own, format!("{key} and deploy.resources.{section}.{limit} differ"));
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
            ("scale: 2, deploy: {replicas: 3}", "scale and deploy.replicas differ"),
            ("scale: 2, container_name: one", "several containers cannot have one container_name"),
            (
                "mem_limit: 1g, deploy: {resources: {limits: {memory: 2g}}}",
                "mem_limit and deploy.resources.limits.memory differ",
            ),
            ("develop: {watch: [{action: sync, path: .}]}", "sync of develop.watch has no target"),
            ("volumes: [{type: bind, target: /d}]", "a volume of type bind has no source"),
            ("volumes: [{type: volume, source: v, target: /d}]", "there is no volume \"v\""),
            (
                "mem_reservation: 1g, deploy: {resources: {reservations: {memory: 1000m}}}",
                "mem_reservation and deploy.resources.reservations.memory differ",
            ),
            ("uts: 'service:b'", "there is no service \"b\" for its uts"),
            ("models: [m]", "there is no model \"m\""),
            (
                "platform: linux/arm64, build: {context: ., platforms: [linux/amd64]}",
                "build.platforms has to have its platform, linux/arm64",
            ),
            ("tmpfs: [/d], volumes: ['./d:/d']", "something is mounted at /d already"),
        ] {
            let text = format!("services:\n  a: {{image: x, {keys}}}\n");
            assert_eq!(warned(&text), [format!("2 Compose refuses the service a: {wanted}")], "{keys}");
        }
        let names = |own: &str, first: &str, second: &str| {
            let text = format!(
                "services:\n  a: {{image: x, container_name: '{own}'{first}}}\n  b: {{image: y, container_name: '{own}'{second}}}\n"
            );
            let tree = crate::tree::Memory::of(&[("c.yml", text.as_str())]);
            let compose = crate::compose::load(&tree, &["c.yml".to_owned()], &[]).expect("read");
            compose.warnings.into_iter().filter_map(|warning| warning.service).collect::<Vec<_>>()
        };
        assert_eq!(names("cc", "", ""), ["b"]);
        assert_eq!(names("cc", "", ", profiles: [p]"), ["b"]);
        assert_eq!(names("cc", ", profiles: [p]", ""), ["a"]);
        assert_eq!(names("cc", ", profiles: [p]", ", profiles: [p]"), ["b"]);
        assert_eq!(names("cc", ", profiles: [p]", ", profiles: [q]"), [""; 0]);
        assert_eq!(names("cc${N}", "", ""), [""; 0]);
        let built =
            "services:\n  a: {build: {context: ., additional_contexts: {base: 'service:b'}}}\n  b: {image: y}\n";
        assert_eq!(
            warned(built),
            ["2 Compose refuses the service a: it is built on the image of b, which has no build"]
        );
        let inactive = "services:\n  a: {image: x}\n  b: {image: y, profiles: [p], depends_on: [zzz]}\n";
        assert_eq!(warned(inactive), ["3 Compose refuses the service b: there is no service \"zzz\""]);
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
            "cpus: 0.5, mem_limit: 1g, deploy: {resources: {limits: {cpus: '0.50', memory: 1024MB}}}",
            "healthcheck: {test: x, interval: 1d, timeout: -1s}, stop_grace_period: 1w, build: {context: ., args: ['=x']}",
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
