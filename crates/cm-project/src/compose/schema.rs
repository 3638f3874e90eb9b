//! The keys of a compose file and the kinds of their values. Compose refuses a key that it
//! does not know, and says so when it is too late; here it is a warning with its line.

use super::load::Loader;
use crate::nearest;
use crate::yaml::{Node, Yaml};

/// A line an object: its keys, each with the kinds that its value may have. `s` is text, `n` a
/// number or text, `b` a boolean or text, `d` a mapping of scalars or a list of `KEY=value`, `m`
/// any mapping, `h` hosts; `@NAME` an object, `{…` a mapping to it, `[…` a list, `/` between the
/// kinds of its items.
const OBJECTS: &str = "\
file version=s name=s include=[s/@include services={@service networks={@network volumes={@volume configs={@config secrets={@secret models={m
include path=s|[s env_file=s|[s project_directory=s
service annotations=d attach=b build=s|@build blkio_config=m cap_add=[s cap_drop=[s cgroup=s cgroup_parent=s command=s|[s configs=[s/@use container_name=s cpu_count=n cpu_percent=n cpu_period=n cpu_quota=n cpu_rt_period=n cpu_rt_runtime=n cpu_shares=n cpus=n cpuset=s credential_spec=m depends_on=[s|{@dependency deploy=@deploy develop=@develop device_cgroup_rules=[s devices=[s/m dns=s|[s dns_opt=[s dns_search=s|[s domainname=s entrypoint=s|[s env_file=s|[s/@env_file environment=d expose=[s/n extends=s|m external_links=[s extra_hosts=h gpus=s|[m group_add=[s/n healthcheck=@healthcheck hostname=s image=s init=b ipc=s isolation=s label_file=s|[s labels=d links=[s logging=@logging mac_address=s mem_limit=n mem_reservation=n mem_swappiness=n memswap_limit=n models=[s|m network_mode=s networks=[s|{@attachment oom_kill_disable=b oom_score_adj=n pid=s pids_limit=n platform=s ports=[s/n/@port post_start=[@hook pre_start=[m pre_stop=[@hook privileged=b profiles=[s provider=m pull_policy=s pull_refresh_after=s read_only=b restart=s runtime=s scale=n secrets=[s/@use security_opt=[s shm_size=n stdin_open=b stop_grace_period=s stop_signal=s storage_opt=m sysctls=d tmpfs=s|[s tty=b ulimits=m use_api_socket=b user=s userns_mode=s uts=s volumes=[s/@mount volumes_from=[s working_dir=s
build additional_contexts=d args=d cache_from=[s cache_to=[s context=s dockerfile=s dockerfile_inline=s entitlements=[s extra_hosts=h isolation=s labels=d network=s no_cache=b no_cache_filter=s|[s platforms=[s privileged=b provenance=b pull=b sbom=b secrets=[s/@use shm_size=n ssh=d tags=[s target=s ulimits=m
dependency condition=s required=b restart=b
env_file format=s path=s required=b
healthcheck disable=b interval=s retries=n start_interval=s start_period=s test=s|[s timeout=s
logging driver=s options=m
attachment aliases=[s driver_opts=m gw_priority=n interface_name=s ipv4_address=s ipv6_address=s link_local_ips=[s mac_address=s priority=n
port app_protocol=s host_ip=s mode=s name=s protocol=s published=n target=n
hook command=s|[s environment=d privileged=b user=s working_dir=s
mount bind=@bind consistency=s image=m read_only=b source=s target=s tmpfs=@tmpfs type=s volume=@of_volume
bind create_host_path=b propagation=s recursive=s selinux=s
tmpfs mode=n size=n
of_volume labels=d nocopy=b subpath=s
use gid=s mode=n source=s target=s uid=s
deploy endpoint_mode=s labels=d mode=s placement=@placement replicas=n resources=@resources restart_policy=@restart_policy rollback_config=@update update_config=@update
update delay=s failure_action=s max_failure_ratio=n monitor=s order=s parallelism=n
resources limits=@limits reservations=@reservations
limits cpus=n memory=s pids=n
reservations cpus=n devices=[m generic_resources=[m memory=s
restart_policy condition=s delay=s max_attempts=n window=s
placement constraints=[s max_replicas_per_node=n preferences=[m
develop watch=[@watch
watch action=s exec=m ignore=s|[s include=s|[s initial_sync=b path=s target=s
network attachable=b driver=s driver_opts=m enable_ipv4=b enable_ipv6=b external=b|m internal=b ipam=@ipam labels=d name=s
ipam config=[@subnet driver=s options=m
subnet aux_addresses=m gateway=s ip_range=s subnet=s
volume driver=s driver_opts=m external=b|m labels=d name=s
config content=s environment=s external=b|m file=s labels=d name=s template_driver=s
secret driver=s driver_opts=m environment=s external=b|m file=s labels=d name=s template_driver=s";

/// Warns of what in the merged tree `root` Compose does not take.
pub fn check(root: &Node, loader: &mut Loader) {
    Check { loader, service: None }.object("file", root, "");
}

/// Whether anything in a compose file has such a key.
pub fn is_key(key: &str) -> bool {
    OBJECTS.lines().flat_map(|line| line.split(' ').skip(1)).any(|pair| pair.split('=').next() == Some(key))
}

struct Check<'a, 'b> {
    loader: &'a mut Loader<'b>,
    service: Option<String>,
}

impl Check<'_, '_> {
    /// The object `name` that stands at `path`.
    fn object(&mut self, name: &str, node: &Node, path: &str) {
        let keys = keys(name);
        for (key, value) in node.pairs().iter().filter(|(key, _)| !key.starts_with("x-")) {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match keys.iter().find(|(known, _)| known == key) {
                Some((_, kinds)) => self.value(kinds, value, &path),
                None => {
                    let names: Vec<&str> = keys.iter().map(|(known, _)| *known).collect();
                    let hint = nearest::nearest(key, names).map(|name| format!("; did you mean {name}?"));
                    self.warn(value, format!("Compose knows no key {path}{}", hint.unwrap_or_default()));
                }
            }
        }
    }

    fn value(&mut self, kinds: &str, node: &Node, path: &str) {
        if node.is_null() {
            return;
        }
        match kinds.split('|').find(|kind| fits(kind, node)) {
            Some(kind) => self.inside(kind, node, path),
            None => self.warn(node, format!("Compose does not take {} as {path}", node.what())),
        }
    }

    /// What is in a value of the kind that it fits.
    fn inside(&mut self, kind: &str, node: &Node, path: &str) {
        if let Some(items) = kind.strip_prefix('[') {
            for (index, item) in node.items().iter().enumerate() {
                let path = format!("{path}[{index}]");
                match items.split('/').find(|kind| fits(kind, item)) {
                    Some(kind) => self.inside(kind, item, &path),
                    None if item.is_null() => {}
                    None => self.warn(item, format!("Compose does not take {} as {path}", item.what())),
                }
            }
        } else if let Some(name) = kind.strip_prefix("{@") {
            for (key, value) in node.pairs().iter().filter(|(key, _)| !key.starts_with("x-")) {
                if name == "service" {
                    self.service = Some(key.clone());
                }
                self.value(&kind[1..], value, &format!("{path}.{key}"));
            }
            if name == "service" {
                self.service = None;
            }
        } else if let Some(name) = kind.strip_prefix('@') {
            self.object(name, node, path);
        } else if kind == "d" {
            let scalar = |node: &Node| !matches!(node.value, Yaml::List(_) | Yaml::Map(_));
            for (key, value) in node.pairs().iter().filter(|(_, value)| !scalar(value)) {
                self.warn(value, format!("Compose does not take {} as {path}.{key}", value.what()));
            }
        }
    }

    fn warn(&mut self, node: &Node, message: String) {
        self.loader.warn(&node.at, self.service.as_deref(), message);
    }
}

/// The keys of an object with the kinds of their values.
fn keys(object: &str) -> Vec<(&'static str, &'static str)> {
    let line = OBJECTS.lines().find_map(|line| line.strip_prefix(object)?.strip_prefix(' '));
    line.unwrap_or_default().split(' ').filter_map(|pair| pair.split_once('=')).collect()
}

/// Whether a value is of a kind; what is in it is looked at later.
fn fits(kind: &str, node: &Node) -> bool {
    let value = &node.value;
    match kind.chars().next() {
        Some('s') => matches!(value, Yaml::Text(_)),
        Some('n') => matches!(value, Yaml::Text(_) | Yaml::Number(_)),
        Some('b') => matches!(value, Yaml::Text(_) | Yaml::Bool(_)),
        Some('d' | 'h') => matches!(value, Yaml::Map(_) | Yaml::List(_)),
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
                "4 Compose knows no key services.a.restrat; did you mean restart?",
                "6 Compose knows no key services.a.deploy.replica; did you mean replicas?",
                "7 Compose knows no key volume; did you mean volumes?",
            ]
        );
    }

    #[test]
    fn a_value_of_another_kind_is_named() {
        for (keys, wanted) in [
            ("    container_name: 5\n", "4 Compose does not take a number as services.a.container_name"),
            ("    privileged: 1\n", "4 Compose does not take a number as services.a.privileged"),
            ("    cap_add: ALL\n", "4 Compose does not take a string as services.a.cap_add"),
            ("    environment: {A: [1]}\n", "4 Compose does not take a list as services.a.environment.A"),
            ("    logging: {options: [a]}\n", "4 Compose does not take a list as services.a.logging.options"),
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
            "    extra_hosts: {h: [1.1.1.1]}\n    healthcheck: {test: 'true', retries: 3}\n    scale: '2'\n    init: 'true'\n",
        ] {
            assert_eq!(warned(keys), [""; 0], "{keys}");
        }
    }
}
