//! The keys of a compose file and the kinds of their values. Compose refuses a key that it
//! does not know, and says so when it is too late; here it is a warning with its line.

use super::format;
use super::keys::{keys, unknown};
use super::load::Loader;
use crate::tree::{self, Place};
use crate::yaml::{Node, Yaml};

/// Warns of what in the merged tree `root`, of a project in `directory`, Compose does not take.
pub fn check(root: &Node, directory: &str, loader: &mut Loader) {
    Check { loader, directory }.object("file", root, "");
}

struct Check<'a, 'b> {
    loader: &'a mut Loader<'b>,
    directory: &'a str,
}

impl Check<'_, '_> {
    /// The object `name` that stands at `path`.
    fn object(&mut self, name: &str, node: &Node, path: &str) {
        let keys = keys(name);
        for (key, value) in node.pairs().iter().filter(|(key, _)| !key.starts_with("x-")) {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match keys.iter().find(|known| known.name == key) {
                Some(_) if name == "env_file" && key == "format" && self.is_unread(node) => {}
                Some(known) => self.value(known.kinds, value, &path),
                None => self.warn(value, unknown(&keys, key, &path)),
            }
        }
        for missing in keys.iter().filter(|key| key.required && node.get(key.name).is_none()) {
            self.warn(node, format!("Compose wants {path}.{}", missing.name));
        }
    }

    /// Whether Compose does not open an env file, and asks for nothing more of it: it may be missing, and is.
    fn is_unread(&self, file: &Node) -> bool {
        let path = file.get("path").and_then(Node::text).unwrap_or_default();
        let is_missing = |path: &str| matches!(tree::read(self.loader.tree(), path), Ok(None));
        file.get("required").is_some_and(|required| !required.is_true())
            && file.get("format").is_some_and(|format| matches!(format.value, Yaml::Text(_)))
            && Place::at(self.directory, &path).inside().is_some_and(is_missing)
    }

    fn value(&mut self, kinds: &str, node: &Node, path: &str) {
        self.one_of(kinds.split('|'), node, path);
    }

    /// A value that has to be of one of these kinds.
    fn one_of<'k>(&mut self, kinds: impl Iterator<Item = &'k str>, node: &Node, path: &str) {
        let kinds: Vec<&str> = kinds.filter(|kind| fits(kind, node)).collect();
        match (kinds.iter().find(|kind| format::is_right(kind, node)), node.text()) {
            (Some(kind), _) => self.inside(kind, node, path),
            (None, Some(text)) if !kinds.is_empty() => {
                self.warn(node, format!("Compose does not take {text:?} as {path}"));
            }
            (None, _) => self.warn(node, format!("Compose does not take {} as {path}", node.what())),
        }
    }

    /// What is in a value of the kind that it fits.
    fn inside(&mut self, kind: &str, node: &Node, path: &str) {
        if let Some(items) = kind.strip_prefix('[') {
            for (index, item) in node.items().iter().enumerate() {
                self.one_of(items.split('/'), item, &format!("{path}[{index}]"));
            }
        } else if let Some(items) = kind.strip_prefix('{') {
            for (key, value) in node.pairs().iter().filter(|(key, _)| !key.starts_with("x-")) {
                if ["services", "volumes"].contains(&path) && !format::is_key(key) {
                    self.warn(value, format!("Compose does not take {key:?} as a name in {path}"));
                }
                self.one_of(items.split('/'), value, &format!("{path}.{key}"));
            }
        } else if let Some(name) = kind.strip_prefix('@') {
            self.object(name, node, path);
        } else if kind == "h" {
            for (index, host) in node.items().iter().enumerate() {
                self.one_of(std::iter::once("s"), host, &format!("{path}[{index}]"));
            }
        } else if ["d", "o", "k"].contains(&kind) {
            let scalar = |node: &Node| match kind {
                "k" => matches!(node.value, Yaml::Text(_) | Yaml::Null),
                _ => !matches!(node.value, Yaml::List(_) | Yaml::Map(_)),
            };
            let is_empty = |key: &str| key.is_empty() && kind != "o";
            if let Some((_, value)) = node.pairs().iter().find(|(key, value)| is_empty(key) && scalar(value)) {
                self.warn(value, format!("Compose does not take an empty name in {path}"));
            }
            for (key, value) in node.pairs().iter().filter(|(_, value)| !scalar(value)) {
                self.warn(value, format!("Compose does not take {} as {path}.{key}", value.what()));
            }
        }
    }

    fn warn(&mut self, node: &Node, message: String) {
        self.loader.warn(&node.at, None, message);
    }
}

/// Whether a value is of a kind; what is in it is looked at later.
fn fits(kind: &str, node: &Node) -> bool {
    let value = &node.value;
    match kind.chars().next() {
        Some('s' | 'c' | 't' | 'y' | '(') => matches!(value, Yaml::Text(_)),
        Some('0') => value == &Yaml::Null,
        Some('n' | 'i' | 'u' | 'f' | 'z' | 'r' | 'p' | 'q') => matches!(value, Yaml::Text(_) | Yaml::Number(_)),
        Some('e' | 'w' | 'v') => matches!(value, Yaml::Number(_)),
        Some('b') => matches!(value, Yaml::Text(_) | Yaml::Bool(_)),
        Some('B') => matches!(value, Yaml::Bool(_)),
        Some('d' | 'k' | 'h') => matches!(value, Yaml::Map(_) | Yaml::List(_)),
        Some('[') => matches!(value, Yaml::List(_)),
        _ => matches!(value, Yaml::Map(_)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use crate::tree::Memory;

    /// The warnings about the service `a` with these keys.
    fn warned(keys: &str) -> Vec<String> {
        let text = format!("services:\n  a:\n    image: x\n{keys}");
        let compose = load(&Memory::of(&[("c.yml", text.as_str())]), &["c.yml".to_owned()], &[]).expect(keys);
        compose.warnings.iter().map(|warning| format!("{} {}", warning.at.line, warning.message)).collect()
    }

    #[test]
    fn a_key_that_compose_does_not_know_has_its_line_and_the_nearest() {
        let found = warned("    restrat: always\n    x-mine: 1\n    deploy: {replica: 1}\nvolume: {}\n");
        assert_eq!(
            found,
            [
                "7 Compose knows no key volume; did you mean volumes?",
                "4 Compose knows no key services.a.restrat; did you mean restart?",
                "6 Compose knows no key services.a.deploy.replica; did you mean replicas?",
            ]
        );
    }

    #[test]
    fn the_format_of_an_env_file_counts_where_the_file_is_read() {
        let optional =
            |path: &str| warned(&format!("    env_file: [{{path: {path}, required: false, format: odd}}]\n"));
        assert!(optional("missing.env").is_empty());
        assert_eq!(optional("c.yml"), ["4 Compose does not take \"odd\" as services.a.env_file[0].format"]);
    }

    #[test]
    fn a_value_of_another_kind_is_named() {
        for (keys, wanted) in [
            (
                "    env_file: [{path: a, format: odd}]\n",
                "4 Compose does not take \"odd\" as services.a.env_file[0].format",
            ),
            ("    pids_limit: many\n", "4 Compose does not take \"many\" as services.a.pids_limit"),
            ("    mem_limit: lots\n", "4 Compose does not take \"lots\" as services.a.mem_limit"),
            ("    init: maybe\n", "4 Compose does not take \"maybe\" as services.a.init"),
            ("    cgroup: foo\n", "4 Compose does not take \"foo\" as services.a.cgroup"),
            ("    container_name: a b\n", "4 Compose does not take \"a b\" as services.a.container_name"),
            ("    scale: -1\n", "4 Compose does not take \"-1\" as services.a.scale"),
            ("    ulimits: {nofile: {soft: 1}}\n", "4 Compose wants services.a.ulimits.nofile.hard"),
            ("    volumes: [{source: x, target: /x}]\n", "4 Compose wants services.a.volumes[0].type"),
            ("    environment:\n    - A: 1\n", "5 Compose does not take a mapping as services.a.environment."),
            ("    environment: {'': x}\n", "4 Compose does not take an empty name in services.a.environment"),
            ("    depends_on: {b: {}}\n  b: {image: y}\n", "4 Compose wants services.a.depends_on.b.condition"),
            ("  a b: {image: y}\n", "4 Compose does not take \"a b\" as a name in services"),
            ("    container_name: 5\n", "4 Compose does not take a number as services.a.container_name"),
            ("    privileged: 1\n", "4 Compose does not take a number as services.a.privileged"),
            ("    cap_add: ALL\n", "4 Compose does not take a string as services.a.cap_add"),
            ("    environment: {A: [1]}\n", "4 Compose does not take a list as services.a.environment.A"),
            ("    logging: {options: [a]}\n", "4 Compose does not take a list as services.a.logging.options"),
            ("    healthcheck:\n", "4 Compose does not take nothing as services.a.healthcheck"),
            ("    ports: [null]\n", "4 Compose does not take nothing as services.a.ports[0]"),
            ("    oom_score_adj: 1001\n", "4 Compose does not take \"1001\" as services.a.oom_score_adj"),
            ("    cpu_percent: 101\n", "4 Compose does not take \"101\" as services.a.cpu_percent"),
            ("    extra_hosts: {h: }\n", "4 Compose does not take nothing as services.a.extra_hosts[0]"),
            ("    extra_hosts: {h: [1.1.1.1, 5]}\n", "4 Compose does not take a number as services.a.extra_hosts[1]"),
            (
                "    build: {context: ., extra_hosts: [{h: x}]}\n",
                "4 Compose does not take a mapping as services.a.build.extra_hosts[0]",
            ),
            (
                "    build: {context: ., additional_contexts: {c: 5}}\n",
                "4 Compose does not take a number as services.a.build.additional_contexts.c",
            ),
            (
                "    volumes: [{type: tmpfs, target: /x, tmpfs: {size: -1}}]\n",
                "4 Compose does not take \"-1\" as services.a.volumes[0].tmpfs.size",
            ),
            (
                "    volumes: [{type: tmpfs, target: /x, tmpfs: {mode: '0755'}}]\n",
                "4 Compose does not take a string as services.a.volumes[0].tmpfs.mode",
            ),
            (
                "    networks: {default: {priority: '5'}}\n",
                "4 Compose does not take a string as services.a.networks.default.priority",
            ),
            ("    blkio_config: {weight: -1}\n", "4 Compose does not take \"-1\" as services.a.blkio_config.weight"),
            ("    cpu_period: 100ms\n", "4 Compose does not take \"100ms\" as services.a.cpu_period"),
            ("    profiles: [p]\n    mem_limit: lots\n", "5 Compose does not take \"lots\" as services.a.mem_limit"),
            ("    models: {m: {foo: A}}\nmodels: {m: {model: x}}\n", "4 Compose knows no key services.a.models.m.foo"),
            ("    init: '1'\n", "4 Compose does not take \"1\" as services.a.init"),
            ("    tty: 't'\n", "4 Compose does not take \"t\" as services.a.tty"),
            ("    read_only: ''\n", "4 Compose does not take \"\" as services.a.read_only"),
            ("    healthcheck: {disable: F}\n", "4 Compose does not take \"F\" as services.a.healthcheck.disable"),
            ("networks: {n: {internal: '0'}}\n", "4 Compose does not take \"0\" as networks.n.internal"),
            ("    use_api_socket: 'true'\n", "4 Compose does not take a string as services.a.use_api_socket"),
            (
                "    depends_on: {b: {condition: service_started, required: yes}}\n  b: {image: y}\n",
                "4 Compose does not take a string as services.a.depends_on.b.required",
            ),
            (
                "    depends_on: {b: {condition: service_started, required: '${R:-true}'}}\n  b: {image: y}\n",
                "4 Compose does not take a string as services.a.depends_on.b.required",
            ),
            (
                "    configs: [{source: c, mode: '288'}]\nconfigs: {c: {content: x}}\n",
                "4 Compose does not take \"288\" as services.a.configs[0].mode",
            ),
            (
                "    configs: [{source: c, mode: '0o440'}]\nconfigs: {c: {content: x}}\n",
                "4 Compose does not take \"0o440\" as services.a.configs[0].mode",
            ),
            ("    group_add: [true]\n", "4 Compose does not take a boolean as services.a.group_add[0]"),
        ] {
            assert_eq!(warned(keys), [wanted], "{keys}");
        }
    }

    #[test]
    fn what_compose_takes_is_no_warning() {
        for keys in [
            "    environment: [A=1, B]\n    labels: {a: 1, b: true, c: }\n    ports: [80, '81:81', {target: 80}]\n",
            "    build: {context: ., args: {A: 1}, ssh: [default], ulimits: {nofile: 1}}\n    cpus: 0.5\n    mem_limit: 512m\n",
            "    depends_on: {b: {condition: service_healthy}}\n    networks: {default: }\n    deploy:\n  b: {image: y}\n",
            "    command:\n    entrypoint:\n    develop:\n    deploy:\n    pid:\n    environment: {A: }\n    ulimits: {nofile: -1}\n",
            "    volumes: [{type: tmpfs, target: /x, tmpfs: {size: 10m, mode: 0755}}]\n    cpu_shares: 1.5\n    pids_limit: 1.5\n",
            "    models: {m: {endpoint_var: A}}\n    build: {context: ., additional_contexts: [c=./x]}\nmodels: {m: {model: x}}\n",
            "    extra_hosts: {h: [1.1.1.1]}\n    healthcheck: {test: 'true', retries: 3}\n    scale: '2'\n    init: 'true'\n",
            "    tty: yes\n    init: 'On'\n    stdin_open: n\n    privileged: '${P:-off}'\n    use_api_socket: true\n",
            "    configs: [{source: c, mode: 0440}, {source: c, mode: 0o440}, {source: c, mode: 288}]\nconfigs: {c: {content: x}}\n",
        ] {
            assert_eq!(warned(keys), [""; 0], "{keys}");
        }
    }
}
