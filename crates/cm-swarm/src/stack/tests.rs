use super::*;

fn stack(service: Value) -> Stack {
    Stack::of(
        &json!({"name": "shop", "services": {"web": service}, "networks": {"default": {"name": "shop_default", "ipam": {}}}}),
    )
}

fn file(service: Value) -> Value {
    let stack = stack(service);
    assert_eq!(stack.refused, []);
    stack.file(&["web".to_owned()], &BTreeMap::new(), &BTreeMap::new())["services"]["web"].clone()
}

#[test]
fn what_compose_writes_becomes_what_a_stack_takes() {
    let web = file(json!({
        "image": "web", "command": null, "restart": "on-failure:3", "mem_limit": "268435456", "cpus": 0.5, "pids_limit": 20,
        "depends_on": {"db": {"condition": "service_healthy", "required": true}}, "container_name": "acme-web",
        "environment": {"A": "$$1", "B": null}, "networks": {"default": null}, "profiles": ["x"], "build": {"context": "."},
        "ports": [{"target": 80, "published": "8080", "mode": "host", "name": "http", "app_protocol": "http"}],
        "deploy": {"resources": {}, "placement": {}, "replicas": 2},
        "healthcheck": {"test": ["CMD", "x"], "interval": "1s", "timeout": "1s", "retries": 3, "start_period": "4s", "start_interval": "1s"},
        "x-y": 1,
    }));
    let wanted = json!({
        "image": "web", "environment": {"A": "$$1"}, "networks": {"default": null},
        "ports": [{"target": 80, "published": 8080, "mode": "host"}],
        "healthcheck": {"test": ["CMD", "x"], "interval": "1s", "timeout": "1s", "retries": 3, "start_period": "4s"},
        "deploy": {
            "replicas": 2,
            "resources": {"limits": {"memory": "268435456", "cpus": "0.5", "pids": 20}},
            "restart_policy": {"condition": "on-failure", "max_attempts": 3},
            "update_config": {"order": "stop-first", "monitor": "12000ms", "failure_action": "pause"},
        },
    });
    assert_eq!(web, wanted);
}

#[test]
fn what_changes_its_meaning_is_told() {
    let told = stack(json!({"image": "web", "restart": "always", "container_name": "a", "environment": {"B": null}}));
    let keys: Vec<_> = told.notes.iter().map(|note| note.key.as_str()).collect();
    assert_eq!(keys, ["container_name", "environment"]);
    assert!(told.notes[1].words.contains('B'), "{}", told.notes[1]);
}

#[test]
fn what_a_swarm_cannot_do_is_refused() {
    for (service, key) in [
        (json!({"privileged": true}), "privileged"),
        (json!({"network_mode": "host"}), "network_mode"),
        (json!({"devices": ["/dev/x"]}), "devices"),
        (json!({"tomorrows_key": 1}), "tomorrows_key"),
        (json!({"volumes": [{"type": "bind", "source": "/srv/x", "target": "/x"}]}), "volumes"),
        (json!({"volumes": [{"type": "volume", "source": "data", "target": "/x"}]}), "volumes"),
        (json!({"networks": {"default": {"ipv4_address": "10.0.0.2"}}}), "networks"),
        (json!({"ports": [{"target": 80, "published": "80", "host_ip": "127.0.0.1"}]}), "ports"),
        (json!({"ports": [{"target": 80, "published": "80-90"}]}), "ports"),
        (json!({"deploy": {"mode": "replicated-job"}}), "deploy.mode"),
        (
            json!({"ports": [{"target": 80, "published": "80", "mode": "host"}], "deploy": {"update_config": {"order": "start-first"}}}),
            "deploy.update_config",
        ),
    ] {
        let refused = stack(service.clone()).refused;
        assert_eq!(refused.iter().map(|note| note.key.as_str()).collect::<Vec<_>>(), [key], "{service}");
    }
    let job = json!({"image": "web", "depends_on": {"m": {"condition": "service_completed_successfully"}}});
    assert_eq!(stack(job).refused.len(), 0, "the job has run before");
    let plain = json!({"privileged": false, "devices": [], "security_opt": null, "image": "web"});
    assert_eq!(stack(plain).refused.len(), 1, "false is said, too: nothing guesses what it means");
}

#[test]
fn data_stays_where_a_constraint_pins_it() {
    let pinned = json!({"constraints": ["node.labels.db == true"]});
    let mounts = json!([{"type": "volume", "source": "data", "target": "/x", "volume": {}}, {"type": "bind", "source": "/srv", "target": "/y", "bind": {"create_host_path": true}}]);
    let web = file(json!({"image": "web", "volumes": mounts, "shm_size": "1024", "deploy": {"placement": pinned}}));
    let wanted = json!([
        {"type": "volume", "source": "data", "target": "/x"}, {"type": "bind", "source": "/srv", "target": "/y"},
        {"type": "tmpfs", "target": "/dev/shm", "tmpfs": {"size": 1024}},
    ]);
    assert_eq!(web["volumes"], wanted);
    assert_eq!(web["deploy"]["update_config"]["order"], "stop-first", "two must not write at a time");
}

#[test]
fn a_service_starts_first_where_two_of_it_can_run() {
    assert!(stack(json!({"image": "web"})).services["web"].start_first);
    let own = json!({"image": "web", "deploy": {"update_config": {"order": "stop-first", "failure_action": "rollback", "monitor": "1h"}}});
    let web = file(own);
    assert_eq!(
        web["deploy"]["update_config"],
        json!({"order": "stop-first", "failure_action": "rollback", "monitor": "3600000ms"})
    );
}

#[test]
fn services_go_in_the_order_in_which_they_depend_on_each_other() {
    let after = |names: &[&str]| -> Value {
        names
            .iter()
            .map(|name| ((*name).to_owned(), json!({"condition": "service_started"})))
            .collect::<Map<_, _>>()
            .into()
    };
    let stack = Stack::of(&json!({"name": "shop", "services": {
        "a": {"depends_on": after(&["b"])}, "b": {"depends_on": after(&["c", "d"])}, "c": {}, "d": {}, "e": {},
    }}));
    let steps = |names: &[&str]| stack.steps(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    assert_eq!(steps(&["a", "b", "c", "e"]), [vec!["c", "e"], vec!["b"], vec!["a"]]);
    assert_eq!(steps(&["a", "c"]), [vec!["c"], vec!["a"]], "also over one that stays");
    assert!(steps(&["z"]).is_empty());
}

#[test]
fn images_are_pinned_and_contents_have_the_names_of_the_swarm() {
    let stack = Stack::of(&json!({
        "name": "shop", "services": {"web": {"image": "web", "configs": [{"source": "a", "target": "/a"}]}, "db": {"image": "db"}},
        "configs": {"a": {"content": "x"}}, "networks": {"default": {"name": "shop_default", "driver": "bridge"}, "x": {"name": "edge", "external": true}},
    }));
    let images = BTreeMap::from([("web".to_owned(), "r/web@sha256:1".to_owned())]);
    let names = BTreeMap::from([("config", BTreeMap::from([("a".to_owned(), "shop_a-1".to_owned())]))]);
    let file = stack.file(&["web".to_owned()], &images, &names);
    assert_eq!(
        (&file["services"]["web"]["image"], file["services"].as_object().map(Map::len)),
        (&json!("r/web@sha256:1"), Some(1))
    );
    assert_eq!(file["configs"], json!({"a": {"external": true, "name": "shop_a-1"}}));
    let networks =
        json!({"default": {"name": "shop_default", "driver": "overlay"}, "x": {"name": "edge", "external": true}});
    assert_eq!(file["networks"], networks);
}
