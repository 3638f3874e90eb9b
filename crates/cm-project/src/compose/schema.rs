//! The keys of a compose file and the kinds of their values. Compose refuses a key that it
//! does not know, and says so when it is too late; here it is a warning with its line.

use super::Warning;
use super::format;
use super::load::Loader;
use crate::nearest;
use crate::yaml::{Node, Yaml};

/// A line an object: its keys, those that it must have with `!`, each with the kinds that its value may have.
/// `s` is text, `n` a number or text, `b` a boolean, `i` a whole number, `u` one that is not negative, `f` any number,
/// `e` a number that is no text, `w` one that is not negative, `v` a whole one of these,
/// `z` a size, `y` one that is text, `rLOW..HIGH` a whole number of these, `p…` any number of these, `0` nothing, `t` a length of time, `c` the name of a container, `(…` one of these words; `d` a mapping of scalars or
/// a list of `KEY=value`, `k` the same of texts, `o` a mapping of scalars, `m` any mapping, `h` hosts; `@NAME` an object, `{…` a mapping to
/// it, `[…` a list, `/` between the kinds of its items.
const OBJECTS: &str = "\
file version=s name=s include=[s/@include services={@service networks={@network/0 volumes={@volume/0 configs={@config secrets={@secret models={@model
include path=s|[s env_file=s|[s project_directory=s
service annotations=d attach=b build=s|@build blkio_config=@blkio cap_add=[s cap_drop=[s cgroup=(host,private) cgroup_parent=s command=s|[s|0 configs=[s/@use container_name=c cpu_count=u cpu_percent=p0..100 cpu_period=e|i cpu_quota=e|i cpu_rt_period=e|i cpu_rt_runtime=e|i cpu_shares=e|i cpus=f cpuset=s credential_spec=@credential depends_on=[s|{@dependency/0 deploy=@deploy|0 develop=@develop|0 device_cgroup_rules=[s devices=[s/@device dns=s|[s dns_opt=[s dns_search=s|[s domainname=s entrypoint=s|[s|0 env_file=s|[s/@env_file environment=d expose=[s/n extends=s|m external_links=[s extra_hosts=h gpus=(all)|[@gpus group_add=[s/n healthcheck=@healthcheck hostname=s image=s init=b ipc=s isolation=s label_file=s|[s labels=d links=[s logging=@logging mac_address=s mem_limit=z mem_reservation=z mem_swappiness=i memswap_limit=z models=[s|{@model_use/0 network_mode=s networks=[s|{@attachment/0 oom_kill_disable=b oom_score_adj=r-1000..1000 pid=s|0 pids_limit=e|i platform=s ports=[s/n/@port post_start=[@hook pre_start=[m pre_stop=[@hook privileged=b profiles=[s provider=@provider pull_policy=s pull_refresh_after=s read_only=b restart=s runtime=s scale=u secrets=[s/@use security_opt=[s shm_size=z stdin_open=b stop_grace_period=s stop_signal=s storage_opt=o sysctls=d tmpfs=s|[s tty=b ulimits={i/@ulimit use_api_socket=b user=s userns_mode=s uts=s volumes=[s/@mount volumes_from=[s working_dir=s
build additional_contexts=k args=d cache_from=[s cache_to=[s context=s dockerfile=s dockerfile_inline=s entitlements=[s extra_hosts=h isolation=s labels=d network=s no_cache=b no_cache_filter=s|[s platforms=[s privileged=b provenance=b|s pull=b sbom=b|s secrets=[s/@use shm_size=z ssh=d tags=[s target=s ulimits={i/@ulimit
dependency condition!=s required=b restart=b
env_file format=(raw) path!=s required=b
healthcheck disable=b interval=s retries=w|u start_interval=s start_period=s test=s|[s timeout=s
logging driver=s options=o
attachment aliases=[s driver_opts=o gw_priority=e interface_name=s ipv4_address=s ipv6_address=s link_local_ips=[s mac_address=s priority=e
port app_protocol=s host_ip=s mode=s name=s protocol=s published=n target!=u
hook command!=s|[s|0 environment=d privileged=b user=s working_dir=s
mount bind=@bind consistency=s image=@of_image read_only=b source=s target!=s tmpfs=@tmpfs type!=(bind,volume,tmpfs,cluster,npipe,image) volume=@of_volume
bind create_host_path=b propagation=s recursive=(enabled,disabled,writable,readonly) selinux=(z,Z)
tmpfs mode=w size=u|y
of_image subpath=s
of_volume labels=d nocopy=b subpath=s
use gid=s mode=i source!=s target=s uid=s
deploy endpoint_mode=s labels=d mode=s placement=@placement replicas=u resources=@resources restart_policy=@restart_policy rollback_config=@update update_config=@update
update delay=t failure_action=s max_failure_ratio=f monitor=t order=(start-first,stop-first) parallelism=u
resources limits=@limits reservations=@reservations
limits cpus=f memory=y pids=i
reservations cpus=f devices=[@gpu generic_resources=[m memory=y
restart_policy condition=s delay=t max_attempts=u window=t
placement constraints=[s max_replicas_per_node=i preferences=[m
develop watch=[@watch
watch action!=(rebuild,sync,restart,sync+restart,sync+exec) exec=m ignore=s|[s include=s|[s initial_sync=b path!=s target=s
network attachable=b driver=s driver_opts=o enable_ipv4=b enable_ipv6=b external=b|m internal=b ipam=@ipam labels=d name=s
ipam config=[@subnet driver=s options=o
subnet aux_addresses=m gateway=s ip_range=s subnet=s
volume driver=s driver_opts=o external=b|m labels=d name=s
config content=s environment=s external=b|m file=s labels=d name=s template_driver=s
secret driver=s driver_opts=o environment=s external=b|m file=s labels=d name=s template_driver=s
blkio device_read_bps=[@rate device_read_iops=[@rate device_write_bps=[@rate device_write_iops=[@rate weight=v weight_device=[@weight
rate path=s rate=i|y
weight path=s weight=v
credential config=s file=s registry=s
device permissions=s source!=s target!=s
gpus capabilities=[s count=(all)|i device_ids=[s driver=s options=d
gpu capabilities!=[s count=(all)|i device_ids=[s driver=s options=d
model_use endpoint_var=s model_var=s
model context_size=i model!=s name=s runtime_flags=[s
provider options=m type!=s
ulimit hard!=i soft!=i";

/// Warns of what in the merged tree `root` Compose does not take.
pub fn check(root: &Node, loader: &mut Loader) {
    Check { loader }.object("file", root, "");
}

/// The sections of the file `root` that Compose does not know.
pub fn unknown_sections(root: &Node) -> Vec<Warning> {
    let keys = keys("file");
    let sections = root.pairs().iter().filter(|(key, _)| !key.starts_with("x-"));
    let unknown = sections.filter(|(key, _)| keys.iter().all(|known| known.name != key));
    let warning = |(key, at): &(String, Node)| Warning {
        at: at.at.clone(),
        message: unknown_key(&keys, key, key),
        service: None,
    };
    unknown.map(warning).collect()
}

fn unknown_key(keys: &[Key], key: &str, path: &str) -> String {
    let names: Vec<&str> = keys.iter().map(|known| known.name).collect();
    let hint = nearest::nearest(key, names).map(|name| format!("; did you mean {name}?"));
    format!("Compose knows no key {path}{}", hint.unwrap_or_default())
}

/// Whether anything in a compose file has such a key.
pub fn is_key(key: &str) -> bool {
    let name = |pair: &str| pair.split('=').next().map(|name| name.trim_end_matches('!').to_owned());
    OBJECTS.lines().flat_map(|line| line.split(' ').skip(1)).any(|pair| name(pair).as_deref() == Some(key))
}

struct Check<'a, 'b> {
    loader: &'a mut Loader<'b>,
}

impl Check<'_, '_> {
    /// The object `name` that stands at `path`.
    fn object(&mut self, name: &str, node: &Node, path: &str) {
        let keys = keys(name);
        for (key, value) in node.pairs().iter().filter(|(key, _)| !key.starts_with("x-")) {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match keys.iter().find(|known| known.name == key) {
                Some(known) => self.value(known.kinds, value, &path),
                None => self.warn(value, unknown_key(&keys, key, &path)),
            }
        }
        for missing in keys.iter().filter(|key| key.required && node.get(key.name).is_none()) {
            self.warn(node, format!("Compose wants {path}.{}", missing.name));
        }
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
            if let Some((_, value)) = node.pairs().iter().find(|(key, value)| key.is_empty() && scalar(value)) {
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

/// A key of an object.
struct Key {
    name: &'static str,
    /// What its value may be.
    kinds: &'static str,
    required: bool,
}

/// The keys of an object.
fn keys(object: &str) -> Vec<Key> {
    let line = OBJECTS.lines().find_map(|line| line.strip_prefix(object)?.strip_prefix(' '));
    let key = |pair: &'static str| {
        let (name, kinds) = pair.split_once('=')?;
        let required = name.ends_with('!');
        Some(Key { name: name.trim_end_matches('!'), kinds, required })
    };
    line.unwrap_or_default().split(' ').filter_map(key).collect()
}

/// Whether a value is of a kind; what is in it is looked at later.
fn fits(kind: &str, node: &Node) -> bool {
    let value = &node.value;
    match kind.chars().next() {
        Some('s' | 'c' | 't' | 'y' | '(') => matches!(value, Yaml::Text(_)),
        Some('0') => value == &Yaml::Null,
        Some('n' | 'i' | 'u' | 'f' | 'z' | 'r' | 'p') => matches!(value, Yaml::Text(_) | Yaml::Number(_)),
        Some('e' | 'w' | 'v') => matches!(value, Yaml::Number(_)),
        Some('b') => matches!(value, Yaml::Text(_) | Yaml::Bool(_)),
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
    fn a_value_of_another_kind_is_named() {
        for (keys, wanted) in [
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
        ] {
            assert_eq!(warned(keys), [""; 0], "{keys}");
        }
    }
}
