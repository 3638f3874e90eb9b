//! The keys that Compose knows, as a table of objects, and the kinds of their values.

use crate::nearest;

/// A line an object: its keys, those that it must have with `!`, each with the kinds that its value may have.
/// `s` is text, `n` a number or text, `b` a boolean or text that is one, `B` a boolean alone, `q` the mode of a file, `i` a whole number, `u` one that is not negative, `f` any number,
/// `e` a number that is no text, `w` one that is not negative, `v` a whole one of these,
/// `z` a size, `y` one that is text, `rLOW..HIGH` a whole number of these, `p…` any number of these, `0` nothing, `t` a length of time, `c` the name of a container, `(…` one of these words; `d` a mapping of scalars or
/// a list of `KEY=value`, `k` the same of texts, `o` a mapping of scalars, `m` any mapping, `h` hosts; `@NAME` an object, `{…` a mapping to
/// it, `[…` a list, `/` between the kinds of its items.
const OBJECTS: &str = "\
file version=s name=s include=[s/@include services={@service networks={@network/0 volumes={@volume/0 configs={@config secrets={@secret models={@model
include path=s|[s env_file=s|[s project_directory=s
service annotations=d attach=b build=s|@build blkio_config=@blkio cap_add=[s cap_drop=[s cgroup=(host,private) cgroup_parent=s command=s|[s|0 configs=[s/@use container_name=c cpu_count=u cpu_percent=p0..100 cpu_period=e|i cpu_quota=e|i cpu_rt_period=e|i cpu_rt_runtime=e|i cpu_shares=e|i cpus=f cpuset=s credential_spec=@credential depends_on=[s|{@dependency/0 deploy=@deploy|0 develop=@develop|0 device_cgroup_rules=[s devices=[s/@device dns=s|[s dns_opt=[s dns_search=s|[s domainname=s entrypoint=s|[s|0 env_file=s|[s/@env_file environment=d expose=[s/n extends=s|m external_links=[s extra_hosts=h gpus=(all)|[@gpus group_add=[s/n healthcheck=@healthcheck hostname=s image=s init=b ipc=s isolation=s label_file=s|[s labels=d links=[s logging=@logging mac_address=s mem_limit=z mem_reservation=z mem_swappiness=i memswap_limit=z models=[s|{@model_use/0 network_mode=s networks=[s|{@attachment/0 oom_kill_disable=b oom_score_adj=r-1000..1000 pid=s|0 pids_limit=e|i platform=s ports=[s/n/@port post_start=[@hook pre_start=[m pre_stop=[@hook privileged=b profiles=[s provider=@provider pull_policy=s pull_refresh_after=s read_only=b restart=s runtime=s scale=u secrets=[s/@use security_opt=[s shm_size=z stdin_open=b stop_grace_period=s stop_signal=s storage_opt=o sysctls=d tmpfs=s|[s tty=b ulimits={i/@ulimit use_api_socket=B user=s userns_mode=s uts=s volumes=[s/@mount volumes_from=[s working_dir=s
build additional_contexts=k args=o cache_from=[s cache_to=[s context=s dockerfile=s dockerfile_inline=s entitlements=[s extra_hosts=h isolation=s labels=d network=s no_cache=b no_cache_filter=s|[s platforms=[s privileged=b provenance=b|s pull=b sbom=b|s secrets=[s/@use shm_size=z ssh=d tags=[s target=s ulimits={i/@ulimit
dependency condition!=s required=B restart=b
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
use gid=s mode=q source!=s target=s uid=s
deploy endpoint_mode=s labels=d mode=s placement=@placement replicas=u resources=@resources restart_policy=@restart_policy rollback_config=@update update_config=@update
update delay=t failure_action=s max_failure_ratio=f monitor=t order=(start-first,stop-first) parallelism=u
resources limits=@limits reservations=@reservations
limits cpus=f memory=y pids=i
reservations cpus=f devices=[@gpu generic_resources=[m memory=y
restart_policy condition=s delay=t max_attempts=u window=t
placement constraints=[s max_replicas_per_node=i preferences=[m
develop watch=[@watch
watch action!=(rebuild,sync,restart,sync+restart,sync+exec) exec=m ignore=s|[s include=s|[s initial_sync=B path!=s target=s
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

/// Whether anything in a compose file has such a key.
pub fn is_key(key: &str) -> bool {
    let name = |pair: &str| pair.split('=').next().map(|name| name.trim_end_matches('!').to_owned());
    OBJECTS.lines().flat_map(|line| line.split(' ').skip(1)).any(|pair| name(pair).as_deref() == Some(key))
}

/// A key of an object.
pub struct Key {
    /// What it is called.
    pub name: &'static str,
    /// What its value may be.
    pub kinds: &'static str,
    /// Whether its object has to have it.
    pub required: bool,
}

/// The keys of an object.
pub fn keys(object: &str) -> Vec<Key> {
    let line = OBJECTS.lines().find_map(|line| line.strip_prefix(object)?.strip_prefix(' '));
    let key = |pair: &'static str| {
        let (name, kinds) = pair.split_once('=')?;
        let required = name.ends_with('!');
        Some(Key { name: name.trim_end_matches('!'), kinds, required })
    };
    line.unwrap_or_default().split(' ').filter_map(key).collect()
}

/// What is said of a `key` at `path` that is none of `keys`.
pub fn unknown(keys: &[Key], key: &str, path: &str) -> String {
    let names: Vec<&str> = keys.iter().map(|known| known.name).collect();
    let hint = nearest::nearest(key, names).map(|name| format!("; did you mean {name}?"));
    format!("Compose knows no key {path}{}", hint.unwrap_or_default())
}
