//! What services need of their host and no project makes: networks and volumes that are external, containers of
//! others, files, paths, images that are not pulled. Without it `up` fails after everything was built.

use super::refusal::is_older;
use super::{Answer, Model};
use crate::Compose;
use cm_core::{Exit, Result};
use serde_json::Value;
use std::collections::BTreeSet;

/// Prints those of the lines on stdin (`KIND NAME`) that are not there. A name may have a value of an env file in it: it is
/// in no argument of a process, but for images, which come from the document and have none.
const ABSENT: &str = r#"# Looks for what the project uses and does not make.
networks=$(docker network ls --format '{{.Name}}') || exit 1
volumes=$(docker volume ls -q) || exit 1
containers=$(docker ps -a --no-trunc --format '{{.Names}},id {{.ID}}' | tr ',' '\n')
newline='
'
listed() { case "$newline$1$newline" in *"$newline$2"*) ;; *) return 1 ;; esac; }
while read -r kind name; do
    case $kind in
    network) listed "$networks" "$name$newline" ;;
    volume) listed "$volumes" "$name$newline" ;;
    container) listed "$containers" "$name$newline" || listed "$containers" "id $name" ;;
    image) docker image inspect "$name" >/dev/null 2>&1 </dev/null ;;
    secret | config | variable) false ;;
    *) [ -e "$name" ] ;;
    esac || printf '%s %s\n' "$kind" "$name"
done"#;

/// From this version on Compose makes the directory of a bind mount in the long form as well. (The first that is known to.)
const BINDS_MADE_SINCE: &str = "2.30.0";

/// A kind, as engines name those that they want beforehand, and a name or path.
pub type Need = (&'static str, String);

impl Compose<'_> {
    /// Those of `wanted`, as `network NAME`, `volume NAME`, `file PATH` and so on, that the host does not have. In the
    /// place of a value of its env files stands the variable's name.
    ///
    /// # Errors
    /// [`Exit::Unreachable`]; [`Exit::HealthUnknown`] if the engine does not answer.
    pub async fn absent(&self, wanted: &BTreeSet<String>) -> Result<Vec<String>> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let lines: String = wanted.iter().map(|line| format!("{line}\n")).collect();
        let script = self.reading(ABSENT).stdin(lines);
        let said = script.text(Exit::HealthUnknown, "engine.unreachable").await?;
        Ok(said.lines().map(str::to_owned).collect())
    }
}

impl Model {
    /// The networks, volumes and containers that the services of which `own` is true use and others make, as [`Compose::absent`] takes them.
    pub fn wanted(&self, own: &dyn Fn(&str) -> bool) -> BTreeSet<String> {
        let needs = self.needs(own, "");
        let shared = needs.into_iter().filter(|(kind, _)| ["network", "volume", "container"].contains(kind));
        shared.map(|(kind, name)| format!("{kind} {name}")).collect()
    }

    /// Everything that Compose of `version` does not make for the services of which `own` is true.
    fn needs(&self, own: &dyn Fn(&str) -> bool, version: &str) -> BTreeSet<Need> {
        let services = self.services().filter(|name| own(name)).filter_map(|name| self.service(name));
        services
            .flat_map(|service| {
                let resources = self.networks(service).into_iter().chain(self.files_of(service));
                let mounts = self.mounts(service, version);
                resources.chain(mounts).chain(devices(service)).chain(self.containers(service)).chain(image(service))
            })
            .collect()
    }

    fn resource(&self, section: &str, key: &str) -> Option<&Value> {
        self.0.get(section)?.get(key)
    }

    /// A resource that others make.
    fn external_one(&self, kind: &'static str, section: &str, key: &str) -> Option<Need> {
        let resource = self.resource(section, key)?;
        let is_external = resource.get("external").and_then(Value::as_bool) == Some(true);
        let name = resource.get("name").and_then(Value::as_str).unwrap_or(key);
        is_external.then(|| (kind, name.to_owned()))
    }

    fn networks(&self, service: &Value) -> Vec<Need> {
        let keys = service.get("networks").and_then(Value::as_object).into_iter().flatten().map(|(key, _)| key);
        keys.filter_map(|key| self.external_one("network", "networks", key)).collect()
    }

    /// The configs and secrets of the service and of its build.
    fn files_of(&self, service: &Value) -> Vec<Need> {
        let mut found = Vec::new();
        for (kind, section, uses) in [
            ("config", "configs", "/configs"),
            ("secret", "secrets", "/secrets"),
            ("secret", "secrets", "/build/secrets"),
        ] {
            for key in items(service, uses).filter_map(|item| text(item, "source")) {
                found.extend(self.external_one(kind, section, key));
                let file = self.resource(section, key).and_then(|resource| text(resource, "file"));
                found.extend(file.map(|file| ("file", file.to_owned())));
                // A build goes without one that is not set.
                let variable = self.resource(section, key).and_then(|resource| text(resource, "environment"));
                found
                    .extend(variable.filter(|_| !uses.starts_with("/build")).map(|name| ("variable", name.to_owned())));
            }
        }
        found
    }

    fn mounts(&self, service: &Value, version: &str) -> Vec<Need> {
        let mut found = Vec::new();
        for mount in items(service, "/volumes") {
            let Some(source) = text(mount, "source") else { continue };
            match text(mount, "type") {
                Some("volume") => {
                    found.extend(self.external_one("volume", "volumes", source));
                    found
                        .extend(self.resource("volumes", source).and_then(bound).map(|path| ("path", path.to_owned())));
                }
                Some("bind") => {
                    let makes = mount.pointer("/bind/create_host_path").and_then(Value::as_bool);
                    let makes = makes.unwrap_or_else(|| !is_older(version, BINDS_MADE_SINCE));
                    found.extend((!makes).then(|| ("path", source.to_owned())));
                }
                _ => {}
            }
        }
        found
    }

    /// Containers of others that a service joins.
    fn containers(&self, service: &Value) -> Vec<Need> {
        let joins = ["network_mode", "pid", "ipc"].into_iter().filter_map(|key| text(service, key));
        let joined = joins.chain(items(service, "/volumes_from").filter_map(Value::as_str));
        let names = joined.filter_map(|value| value.strip_prefix("container:"));
        let names = names.map(|name| name.split(':').next().unwrap_or(name));
        let own = format!("{}-", self.name());
        let fixed: Vec<&str> = self.services().filter_map(|name| text(self.service(name)?, "container_name")).collect();
        names
            .filter(|name| !name.starts_with(&own) && !fixed.contains(name))
            .map(|name| ("container", name.to_owned()))
            .collect()
    }
}

impl Answer {
    /// What the services of which `own` is true need, of the `kinds` that the engine wants beforehand, and the host does not have.
    pub fn lacks(&self, kinds: &[&str], own: &dyn Fn(&str) -> bool) -> BTreeSet<Need> {
        let Ok(head) = &self.head else { return BTreeSet::new() };
        let not_in =
            |listed: &Option<BTreeSet<String>>, name: &String| listed.as_ref().is_some_and(|all| !all.contains(name));
        let needs = head.needs(own, &self.version).into_iter().filter(|(kind, _)| kinds.contains(kind));
        needs
            .filter(|(kind, name)| match *kind {
                "network" => not_in(&self.there.networks, name),
                "volume" => not_in(&self.there.volumes, name),
                "container" => not_in(&self.there.names, name),
                "image" => !self.images.is_empty() && self.image_id(name).is_none(),
                "file" | "path" => self.there.absent.contains(name),
                "variable" => head.is_unset(name),
                _ => true,
            })
            .collect()
    }
}

fn items<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

/// The directory that a volume of the driver `local` stands for.
fn bound(volume: &Value) -> Option<&str> {
    let options = volume.get("driver_opts")?;
    let binds =
        text(options, "o").is_some_and(|options| options.split(',').any(|one| ["bind", "rbind"].contains(&one.trim())));
    text(options, "device").filter(|path| binds && path.starts_with('/'))
}

fn devices(service: &Value) -> Vec<Need> {
    let sources = items(service, "/devices").filter_map(|device| match device {
        Value::String(text) => text.split(':').next(),
        device => text(device, "source"),
    });
    // Others are names of the container device interface.
    sources.filter(|source| source.starts_with('/')).map(|source| ("path", source.to_owned())).collect()
}

fn image(service: &Value) -> Option<Need> {
    let never = text(service, "pull_policy") == Some("never") && service.get("build").is_none();
    let image = text(service, "image").filter(|image| never && !image.contains('@'))?;
    Some(("image", image.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KINDS: [&str; 9] =
        ["network", "volume", "container", "image", "file", "path", "secret", "config", "variable"];

    fn lacks(services: Value, more: &Value, version: &str) -> Vec<String> {
        let mut model = json!({"name": "shop", "services": services});
        for (key, value) in more.as_object().into_iter().flatten() {
            model[key] = value.clone();
        }
        let text = format!(
            "cm path /srv/app\ncm config 0 0\n{model}\ncm said 0\ncm networks\nedge\ncm volumes\npool\ncm names\nproxy\ncm absent\n\
             /srv/key\n/srv/none\n/dev/none\ncm version {version}\ncm containers 0\ncm images 0\nthere:latest sha256:1\ncm end"
        );
        let answer = Answer::read(&text, 1);
        let found = answer.lacks(&KINDS, &|service| service != "other");
        found.into_iter().map(|(kind, name)| format!("{kind} {name}")).collect()
    }

    #[test]
    fn what_others_make_is_missing_where_an_own_service_uses_it() {
        let more = json!({
            "networks": {"a": {"name": "edge", "external": true}, "b": {"name": "back", "external": true}, "c": {"name": "shop_c"}},
            "volumes": {"p": {"name": "pool", "external": true}, "q": {"name": "data", "external": true},
                "r": {"name": "shop_r", "driver_opts": {"o": "bind", "device": "/srv/none", "type": "none"}}},
            "secrets": {"k": {"name": "shop_k", "file": "/srv/key"}, "s": {"name": "s", "external": true}, "t": {"name": "shop_t", "file": "/srv/app/t"},
                "e": {"name": "shop_e", "environment": "KEY"}, "f": {"name": "shop_f", "environment": "SET"}},
            "configs": {"g": {"name": "shop_g", "environment": "KEY"}, "h": {"name": "shop_h", "environment": "UNASKED"}},
            "x-cm-variables": {"KEY": [""], "SET": ["set"]},
        });
        for (service, wanted) in [
            (json!({"networks": {"a": null, "c": null}}), vec![]),
            (json!({"networks": {"b": null}}), vec!["network back"]),
            (json!({"volumes": [{"type": "volume", "source": "p", "target": "/x"}]}), vec![]),
            (json!({"volumes": [{"type": "volume", "source": "q", "target": "/x"}]}), vec!["volume data"]),
            (json!({"volumes": [{"type": "volume", "source": "r", "target": "/x"}]}), vec!["path /srv/none"]),
            (json!({"secrets": [{"source": "k"}, {"source": "t"}]}), vec!["file /srv/key"]),
            (json!({"build": {"secrets": [{"source": "k"}]}}), vec!["file /srv/key"]),
            (json!({"secrets": [{"source": "s"}]}), vec!["secret s"]),
            (
                json!({"secrets": [{"source": "e"}, {"source": "f"}], "configs": [{"source": "h"}]}),
                vec!["variable KEY"],
            ),
            (json!({"configs": [{"source": "g"}]}), vec!["variable KEY"]),
            (json!({"build": {"secrets": [{"source": "e"}]}}), vec![]),
            (json!({"network_mode": "container:proxy"}), vec![]),
            (json!({"network_mode": "container:vpn"}), vec!["container vpn"]),
            (json!({"network_mode": "container:shop-web-1", "pid": "container:fixed"}), vec![]),
            (json!({"volumes_from": ["container:old:ro"]}), vec!["container old"]),
            (json!({"image": "gone", "pull_policy": "never"}), vec!["image gone"]),
            (json!({"image": "there", "pull_policy": "never"}), vec![]),
            (json!({"image": "gone"}), vec![]),
            (json!({"devices": [{"source": "/dev/none"}, {"source": "nvidia.com/gpu=all"}]}), vec!["path /dev/none"]),
        ] {
            let services = json!({"web": service, "fixed": {"container_name": "fixed"}});
            assert_eq!(lacks(services, &more, "2.26.1"), wanted, "{service}");
            let services = json!({"other": service, "fixed": {"container_name": "fixed"}});
            assert_eq!(lacks(services, &more, "2.26.1"), [""; 0], "of another host: {service}");
        }
    }

    #[test]
    fn a_directory_that_docker_makes_is_not_missing() {
        for (bind, version, missing) in [
            (json!({"create_host_path": true}), "2.26.1", false),
            (json!({"create_host_path": false}), "2.40.3", true),
            (json!({}), "2.26.1-4", true),
            (json!({}), "2.40.3", false),
        ] {
            let mount = json!([{"type": "bind", "source": "/srv/none", "target": "/x", "bind": bind}]);
            let found = lacks(json!({"web": {"volumes": mount}}), &json!({}), version);
            assert_eq!(found.len(), usize::from(missing), "{bind} {version}");
        }
    }
}
