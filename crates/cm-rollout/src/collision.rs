//! What two containers cannot both have: a port of the host, a name, and a volume that goes over
//! from one service to another. What holds it has to leave before what takes it comes.

use cm_engine::{Config, Container};
use std::collections::BTreeSet;

/// A container that holds what another service is about to take.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Collision<'a> {
    /// The container.
    pub holder: &'a Container,
    /// The service that takes it.
    pub taker: String,
    /// Whether it is the container's name.
    pub name: bool,
    /// What it is, for people.
    pub what: String,
}

/// The collisions when the containers of `starting` are started or replaced and those of
/// `leaving` are removed; `before` is what is there now.
pub(crate) fn collisions<'a>(
    config: &Config,
    starting: &[String],
    leaving: &[String],
    before: &'a [Container],
) -> Vec<Collision<'a>> {
    let moves = |container: &&Container| {
        container.alongside.is_empty()
            && (starting.contains(&container.service) || leaving.contains(&container.service))
    };
    let mut found = Vec::new();
    for holder in before.iter().filter(moves) {
        for taker in starting.iter().filter(|taker| **taker != holder.service) {
            let Some((name, what)) = held(config, taker, holder, before) else { continue };
            found.push(Collision { holder, taker: taker.clone(), name, what });
        }
    }
    found
}

/// What of `holder` the service `taker` takes, and whether that is its name.
fn held(config: &Config, taker: &str, holder: &Container, before: &[Container]) -> Option<(bool, String)> {
    let definition = config.services.get(taker)?;
    let own = definition.container_name.as_deref() == Some(holder.name.as_str());
    let made_up = || (1..=definition.replicas).any(|n| holder.name == format!("{}-{taker}-{n}", config.project));
    if own || (definition.container_name.is_none() && made_up()) {
        return Some((true, format!("the name {}", holder.name)));
    }
    if !holder.is_running() {
        return None;
    }
    if let Some(port) = definition.published.iter().find(|port| holder.ports.iter().any(|held| held.meets(port))) {
        return Some((false, format!("port {port}")));
    }
    // A volume that both have before or after is one that they share.
    let shares = |volume: &&String| {
        let keeps = config.services.get(&holder.service).is_some_and(|own| own.writes.contains(*volume));
        keeps || before.iter().any(|other| other.service == taker && other.writes.contains(volume))
    };
    let volume = definition.writes.iter().find(|volume| holder.writes.contains(volume) && !shares(volume))?;
    Some((false, format!("the volume {volume}")))
}

/// Services that `config` does not have, and whose containers hold what `starting` takes: they came later, or
/// are of another project file, and have to leave when a release is rolled back.
pub fn in_the_way(config: &Config, starting: &[String], before: &[Container]) -> BTreeSet<String> {
    let foreign = before.iter().map(|container| &container.service).filter(|name| !config.services.contains_key(*name));
    let foreign: Vec<String> = foreign.filter(|name| !name.is_empty()).cloned().collect();
    collisions(config, starting, &foreign, before)
        .into_iter()
        .map(|one| one.holder.service.clone())
        .filter(|name| foreign.contains(name))
        .collect()
}

/// The services that take part in a collision: none of them can run alongside itself.
pub(crate) fn parties(collisions: &[Collision<'_>]) -> BTreeSet<String> {
    collisions.iter().flat_map(|one| [one.holder.service.clone(), one.taker.clone()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn container(service: &str, name: &str, port: &str, volume: &str) -> Container {
        Container::read(&json!({
            "Id": service, "Name": name, "State": {"Status": "running"},
            "Config": {"Labels": {"com.docker.compose.service": service}},
            "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": port}]}},
            "Mounts": [{"Type": "volume", "Name": volume, "RW": true}],
        }))
    }

    fn told(services: Value, starting: &[&str], leaving: &[&str], before: &[Container]) -> Vec<String> {
        let config = Config::read(&json!({"name": "shop", "services": services}));
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let found = collisions(&config, &names(starting), &names(leaving), before);
        found.iter().map(|one| format!("{} -> {}: {}", one.holder.service, one.taker, one.what)).collect()
    }

    fn publishes(port: &str) -> Value {
        json!({"ports": [{"target": 80, "published": port, "protocol": "tcp"}]})
    }

    #[test]
    fn a_service_under_a_new_name_takes_port_name_and_volume_of_the_old_one() {
        let before = [container("old", "acme-web", "80", "data")];
        let new = |service: Value| told(json!({"new": service}), &["new"], &["old"], &before);
        assert_eq!(new(publishes("80")), ["old -> new: port 80"]);
        assert_eq!(new(json!({"container_name": "acme-web"})), ["old -> new: the name acme-web"]);
        let volume = json!({"volumes": [{"type": "volume", "source": "data", "target": "/d"}]});
        let named = json!({"volumes": [{"type": "bind", "source": "data", "target": "/d"}]});
        assert!(new(volume).is_empty(), "another volume: shop_data");
        assert_eq!(new(named), ["old -> new: the volume data"]);
        assert!(new(publishes("81")).is_empty());
    }

    #[test]
    fn what_came_later_leaves_where_it_is_in_the_way_and_stays_where_not() {
        let before = [
            container("site", "front", "80", "x"),
            container("extra", "extra", "81", "y"),
            container("web", "web", "82", "z"),
        ];
        let config = Config::read(&json!({"name": "shop", "services": {"web": publishes("80")}}));
        let way = in_the_way(&config, &["web".to_owned()], &before);
        assert_eq!(way.into_iter().collect::<Vec<_>>(), ["site"]);
    }

    #[test]
    fn two_services_that_swap_ports_are_in_each_others_way() {
        let before = [container("a", "a", "80", "x"), container("b", "b", "81", "y")];
        let swapped = json!({"a": publishes("81"), "b": publishes("80")});
        assert_eq!(told(swapped, &["a", "b"], &[], &before), ["a -> b: port 80", "b -> a: port 81"]);
    }

    #[test]
    fn what_stays_where_it_is_collides_with_nothing() {
        let before = [container("a", "a", "80", "shared"), container("b", "b", "81", "shared")];
        let shared = json!({"type": "bind", "source": "shared", "target": "/d"});
        let mut services = json!({"a": publishes("80"), "b": publishes("81")});
        services["a"]["volumes"] = json!([shared]);
        services["b"]["volumes"] = json!([shared]);
        assert!(told(services.clone(), &["a", "b"], &[], &before).is_empty());
        services["c"] = publishes("80");
        assert!(told(services, &["c"], &[], &before).is_empty(), "not ours to take away: it fails, and says so");
    }
}
