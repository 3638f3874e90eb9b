//! What Compose refuses in one file before it lays others over it, and what nobody can see afterwards: lists that hold
//! something twice, and `KEY=value` lists and lists of names that hold something else than text; variables that must
//! have a value; and what an included file has as well. Compose reads services that no profile starts like the others.

use super::Warning;
use super::keys;
use crate::source::Position;
use crate::template;
use crate::timestamp::TIMESTAMP;
use crate::variables::Variables;
use crate::yaml::{Node, Template, Yaml};

/// A list that must not hold the same twice.
const UNIQUE: &str = "\
services.*.external_links services.*.group_add services.*.security_opt services.*.volumes_from \
services.*.device_cgroup_rules services.*.networks services.*.depends_on services.*.extra_hosts \
services.*.build.extra_hosts services.*.build.ssh services.*.gpus.*.capabilities services.*.gpus.*.device_ids \
services.*.deploy.resources.reservations.devices.*.capabilities \
services.*.deploy.resources.reservations.devices.*.device_ids";

/// A list that must hold text, as Compose reads it before it knows what its kind is.
const TEXTS: &str = "\
services.*.environment services.*.labels services.*.annotations services.*.sysctls services.*.profiles \
services.*.cap_add services.*.cap_drop services.*.dns services.*.dns_opt services.*.dns_search services.*.tmpfs \
services.*.links services.*.build.args services.*.build.labels services.*.build.additional_contexts \
services.*.deploy.labels services.*.extra_hosts services.*.build.extra_hosts networks.*.labels volumes.*.labels configs.*.labels secrets.*.labels";

/// Warns of what Compose refuses in the document `root` of a file.
pub fn check(root: &Node) -> Vec<Warning> {
    let mut all = unknown_sections(root);
    if let Some((_, nothing)) = root.pairs().iter().find(|(key, value)| key == "services" && value.is_null()) {
        all.push(warning(&nothing.at, "Compose refuses services without anything in it".to_owned()));
    }
    for path in UNIQUE.split(' ') {
        for found in lists(root, path) {
            if let Some(twice) = twice(found.node) {
                found.warn(twice, "the same twice", &mut all);
            }
        }
    }
    for found in places(root, "services.*.depends_on.*").iter().filter(|found| found.node.is_null()) {
        found.warn(found.node, "nothing", &mut all);
    }
    for path in TEXTS.split(' ') {
        for found in lists(root, path) {
            let is_other = |item: &&Node| matches!(item.value, Yaml::Number(_) | Yaml::Bool(_) | Yaml::Null);
            for item in found.node.items().iter().filter(is_other) {
                found.warn(item, item.what(), &mut all);
            }
        }
    }
    dates(root, "", &mut all);
    for path in ["services.*.environment", "services.*.build.args"] {
        let items = lists(root, path).into_iter().flat_map(|found| found.node.items());
        let name = |item: &Node| item.text().map(|text| text.split('=').next().unwrap_or_default().to_owned());
        for item in items.filter(|item| name(item).is_some_and(|name| name.ends_with(char::is_whitespace))) {
            all.push(warning(&item.at, "Compose does not take a space at the end of a variable's name".to_owned()));
        }
    }
    all
}

/// Dates without quotes are no text, and Compose takes them nowhere but in extensions.
fn dates(node: &Node, path: &str, all: &mut Vec<Warning>) {
    if node.tag.as_deref() == Some(TIMESTAMP) {
        let message = format!("Compose does not take a date without quotes in {path}: put it in quotes");
        all.push(warning(&node.at, message));
    }
    let at = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    for (key, value) in node.pairs().iter().filter(|(key, _)| !key.starts_with("x-")) {
        dates(value, &at(key), all);
    }
    for (index, item) in node.items().iter().enumerate() {
        dates(item, &at(&index.to_string()), all);
    }
}

/// The sections of a file that Compose does not know.
fn unknown_sections(root: &Node) -> Vec<Warning> {
    let known = keys::keys("file");
    let sections = root.pairs().iter().filter(|(key, _)| !key.starts_with("x-"));
    let unknown = sections.filter(|(key, _)| known.iter().all(|known| known.name != key));
    unknown.map(|(key, node)| warning(&node.at, keys::unknown(&known, key, key))).collect()
}

/// Warns where Compose stops if nobody gives a variable a value.
pub fn required(template: &Template, variables: &Variables) -> Vec<Warning> {
    let has = |name: &str| variables.open(name).is_some_and(|(text, _)| !text.is_empty());
    let wanted = template::wanted(&template.text, &has).unwrap_or_default();
    let warning = |wanted: template::Wanted| {
        let name = wanted.name;
        warning(
            &template.at,
            format!("Compose refuses the file without a value of {name}, which no file here gives it"),
        )
    };
    let is_empty = |name: &str| variables.get(name).is_some();
    let lacking = |wanted: &template::Wanted| wanted.required && !(wanted.may_be_empty && is_empty(&wanted.name));
    wanted.into_iter().filter(lacking).map(warning).collect()
}

/// Compose takes what an included file has and the including one as well only if it is the same.
pub fn conflicts(section: &str, own: Option<&Node>, brought: &Node) -> Vec<Warning> {
    let mut all = Vec::new();
    for (name, node) in own.map_or(&[][..], Node::pairs) {
        let other = brought.pairs().iter().find(|(known, _)| known == name).map(|(_, other)| other);
        // Compose knows where one of the two files is, and not yet the other.
        let is_file = |node: &Node| {
            let path = node.get("file").and_then(Node::text);
            ["configs", "secrets"].contains(&section) && path.is_some_and(|path| !path.starts_with('/'))
        };
        if other.is_some_and(|other| other != node || is_file(node)) {
            let message = format!("Compose refuses {section}.{name}: an included file has another one of this name");
            all.push(warning(&node.at, message));
        }
    }
    all
}

/// Compose lays text over a list of devices nowhere, nor a list over a mapping of keys for ssh.
pub fn overridden(base: &Node, over: &Node, path: &[&str]) -> Vec<Warning> {
    if path.is_empty() {
        let services = over.get("services").map_or(&[][..], Node::pairs).iter();
        let both = services.filter_map(|(name, over)| Some((base.get("services")?.get(name)?, over)));
        return both.flat_map(|(base, over)| overridden(base, over, &["services", "*"])).collect();
    }
    let gpus = over.get("gpus").filter(|gpus| gpus.text().is_some() && gpus.tag.is_none());
    // Text of the same file is text still.
    let is_list = |below: &Node, gpus: &Node| matches!(below.value, Yaml::List(_)) || below.at.file != gpus.at.file;
    let ssh = |node: &'_ Node| node.get("build").and_then(|build| build.get("ssh")).cloned();
    let gpus = gpus.filter(|gpus| base.get("gpus").is_some_and(|below| is_list(below, gpus))).cloned();
    let is_map = ssh(base).is_some_and(|below| matches!(below.value, Yaml::Map(_)));
    let ssh = ssh(over).filter(|over| is_map && matches!(over.value, Yaml::List(_)) && over.tag.is_none());
    let refused = |(what, at): (&str, Node)| {
        warning(&at.at, format!("Compose refuses {} as {what} over what is there already", at.what()))
    };
    gpus.map(|at| ("gpus", at)).into_iter().chain(ssh.map(|at| ("ssh of build", at))).map(refused).collect()
}

fn warning(at: &Position, message: String) -> Warning {
    Warning { at: at.clone(), message, service: None }
}

/// A value, and where it is.
struct Found<'a> {
    path: String,
    node: &'a Node,
}

impl Found<'_> {
    fn warn(&self, at: &Node, what: &str, all: &mut Vec<Warning>) {
        all.push(warning(&at.at, format!("Compose does not take {what} in {}", self.path)));
    }
}

/// The lists among [`places`].
fn lists<'a>(root: &'a Node, path: &str) -> Vec<Found<'a>> {
    let mut found = places(root, path);
    found.retain(|found| matches!(found.node.value, Yaml::List(_)));
    found
}

/// What is at `path`, in which `*` is every entry of a mapping or a list.
fn places<'a>(root: &'a Node, path: &str) -> Vec<Found<'a>> {
    let mut found = vec![Found { path: String::new(), node: root }];
    for part in path.split('.') {
        let below = |found: &Found<'a>| {
            let named = found.node.pairs().iter().filter(|(key, _)| part == "*" || key == part);
            let named = named.map(|(key, node)| (key.clone(), node));
            let numbered = found.node.items().iter().filter(|_| part == "*").enumerate();
            let all = named.chain(numbered.map(|(at, node)| (at.to_string(), node)));
            let path = |key: String| if found.path.is_empty() { key } else { format!("{}.{key}", found.path) };
            all.map(|(key, node)| Found { path: path(key), node }).collect::<Vec<_>>()
        };
        found = found.iter().flat_map(below).collect();
    }
    found
}

/// The first item that is there before.
fn twice(list: &Node) -> Option<&Node> {
    let items = list.items();
    let is_known = |at: usize| !items[at].is_open() && items[..at].iter().any(|other| other == &items[at]);
    (0..items.len()).find(|at| is_known(*at)).map(|at| &items[at])
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::super::tests::warned;
    use crate::tree::Memory;

    #[test]
    fn what_merging_would_hide_is_named_with_its_line() {
        for (keys, wanted) in [
            ("security_opt: [a, b, a]", "the same twice in services.a.security_opt"),
            ("depends_on: [b, b]", "the same twice in services.a.depends_on"),
            ("depends_on: {b: }", "nothing in services.a.depends_on.b"),
            ("build: {context: ., ssh: [default, default]}", "the same twice in services.a.build.ssh"),
            ("gpus: [{capabilities: [gpu, gpu]}]", "the same twice in services.a.gpus.0.capabilities"),
            ("environment: [A=1, 2]", "a number in services.a.environment"),
            ("labels: [true]", "a boolean in services.a.labels"),
            ("profiles: [1]", "a number in services.a.profiles"),
            ("deploy: {labels: [1]}", "a number in services.a.deploy.labels"),
        ] {
            let text = format!("services:\n  b: {{image: x}}\n  a: {{image: x, {keys}}}\n");
            let wanted = format!("3 Compose does not take {wanted}");
            assert!(warned(&text).contains(&wanted), "{keys}: {:?}", warned(&text));
        }
    }

    #[test]
    fn a_date_without_quotes_is_named_and_one_with_them_is_text() {
        for (keys, path) in [
            ("labels: {built: 2024-01-31}", "labels.built"),
            ("labels:\n      built: 2024-1-2T10:00:00Z", "labels.built"),
            ("environment: {A: 2024-01-31 10:00:00}", "environment.A"),
            ("command: [run, 2024-01-31]", "command.1"),
            ("hostname: 2024-01-31 # a day", "hostname"),
        ] {
            let found = warned(&format!("services:\n  a:\n    image: x\n    {keys}\n")).join("\n");
            let wanted = format!("Compose does not take a date without quotes in services.a.{path}");
            assert_eq!(found.matches(&wanted).count(), 1, "{keys}: {found}");
        }
        for keys in [
            "labels: {built: '2024-01-31', b: \"2024-01-31\", c: !!str 2024-01-31, d: 2024-13-01, e: 2024-01-31-x}",
            "labels: [built=2024-01-31]",
            "x-day: 2024-01-31",
            "labels:\n      a: v2024-01-31\n      b: 2024-01\n      c: |-\n        2024-01-31",
        ] {
            let found = warned(&format!("services:\n  a:\n    image: x\n    {keys}\n")).join("\n");
            assert!(!found.contains("a date"), "{keys}: {found}");
        }
    }

    #[test]
    fn a_variable_that_must_have_a_value_is_named_unless_it_has_one() {
        let text = "services:\n  a:\n    image: ${TAG:?set it}\n    command: ${OTHER:-${MORE?}}\n";
        let wanted = ["3", "4"].iter().zip(["TAG", "MORE"]);
        let wanted: Vec<String> = wanted
            .map(|(line, name)| {
                format!("{line} Compose refuses the file without a value of {name}, which no file here gives it")
            })
            .collect();
        assert_eq!(warned(text), wanted);
        let tree = Memory::of(&[("c.yml", text), (".env", "TAG=1\nMORE=2\n")]);
        let compose = load(&tree, &["c.yml".to_owned()], &[".env".to_owned()]).expect("read");
        assert!(compose.warnings.is_empty(), "{:?}", compose.warnings);
    }

    #[test]
    fn an_included_file_has_no_other_service_of_the_same_name() {
        let included = "services:\n  a: {image: x}\n  b: {image: y}\n";
        for (own, count) in [("a: {image: x}", 0), ("a: {image: z}", 1)] {
            let text = format!("include: [i.yml]\nservices:\n  {own}\n");
            let compose =
                load(&Memory::of(&[("c.yml", &text), ("i.yml", included)]), &["c.yml".to_owned()], &[]).expect("read");
            assert_eq!(compose.warnings.len(), count, "{:?}", compose.warnings);
        }
    }

    #[test]
    fn what_is_wrong_with_an_included_or_a_later_file_is_named_there() {
        for (included, wanted) in [
            ("foo: {}\nservices: {b: {image: y}}\n", "i.yml:1:6: Compose knows no key foo"),
            ("services:\n", "i.yml:1:9: Compose refuses services without anything in it"),
            ("", ""),
            ("# not yet\n", ""),
        ] {
            let files =
                [("c.yml", "services: {a: {image: x}}\n"), ("i.yml", included), ("n.yml", "include: [i.yml]\n")];
            for names in [["c.yml", "i.yml"], ["c.yml", "n.yml"]] {
                let compose = load(&Memory::of(&files), &names.map(str::to_owned), &[]).expect(included);
                let found: Vec<String> =
                    compose.warnings.iter().map(|one| format!("{}: {}", one.at, one.message)).collect();
                assert_eq!(found.concat(), wanted, "{names:?} {included:?}");
            }
        }
        let missing = "include: [{path: e.yml, env_file: no.env}, [e.yml]]\nservices: {a: {image: x}}\n";
        let compose =
            load(&Memory::of(&[("c.yml", missing), ("e.yml", "")]), &["c.yml".to_owned()], &[]).expect("read");
        let found: Vec<&str> = compose.warnings.iter().map(|one| one.message.as_str()).collect();
        assert!(found.iter().any(|one| one.contains("has its env file no.env")), "{found:?}");
        assert!(found.contains(&"Compose does not take a list as an entry of include"), "{found:?}");
    }

    #[test]
    fn an_included_file_has_no_other_network_or_config_of_the_same_name() {
        for (own, brought, count) in [
            ("networks: {n: {driver: bridge}}", "networks: {n: }", 1),
            ("networks: {n: }", "networks: {n: }", 0),
            ("configs: {c: {file: ./c}}", "configs: {c: {file: ./c}}", 1),
            ("configs: {c: {content: a}}", "configs: {c: {content: a}}", 0),
        ] {
            let files = [
                ("c.yml", format!("include: [i.yml]\nservices: {{a: {{image: x}}}}\n{own}\n")),
                ("i.yml", format!("services: {{b: {{image: x}}}}\n{brought}\n")),
            ];
            let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
            let compose = load(&Memory::of(&files), &["c.yml".to_owned()], &[]).expect("read");
            assert_eq!(compose.warnings.len(), count, "{own}: {:?}", compose.warnings);
        }
        let spaced = "services:\n  a: {image: x, environment: ['A =1', 'B= 1']}\n";
        assert_eq!(warned(spaced), ["2 Compose does not take a space at the end of a variable's name"]);
    }

    #[test]
    fn what_compose_lays_over_nothing_is_named() {
        let all = "services: {a: {image: x, gpus: all}}\n";
        let one = "services: {a: {image: x, gpus: [{count: 1}]}}\n";
        let map = "services: {a: {build: {context: ., ssh: {a: /x}}}}\n";
        let list = "services: {a: {build: {ssh: [default]}}}\n";
        for (below, over, wanted) in [
            (all, all, "Compose refuses a string as gpus over what is there already"),
            (one, all, "Compose refuses a string as gpus over what is there already"),
            (all, one, ""),
            (one, "services: {a: {gpus: !override all}}\n", ""),
            (map, list, "Compose refuses a list as ssh of build over what is there already"),
            (list, map, ""),
        ] {
            let files = Memory::of(&[("c.yml", below), ("o.yml", over)]);
            let names = ["c.yml", "o.yml"].map(str::to_owned);
            let found: Vec<String> =
                load(&files, &names, &[]).expect(over).warnings.into_iter().map(|one| one.message).collect();
            assert_eq!(found.concat(), wanted, "{below} {over}");
        }
        for (below, over) in [("all", "all"), ("[{count: 1}]", "all")] {
            let text = format!("services:\n  a: {{extends: b, gpus: {over}}}\n  b: {{image: x, gpus: {below}}}\n");
            assert_eq!(warned(&text).is_empty(), below == "all", "{below} {:?}", warned(&text));
        }
    }

    #[test]
    fn what_compose_joins_by_itself_may_come_twice() {
        let keys =
            "environment: [A=1, A=1, B], cap_add: [X, X], expose: [80, 80], ports: ['80', '80'], group_add: [$G, $G]";
        let text = format!("services:\n  a: {{image: x, {keys}}}\n");
        assert_eq!(warned(&text), [""; 0]);
    }
}
