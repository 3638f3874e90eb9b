//! What differs between two resolved versions of a service, by Compose's own measure: the same
//! settings in another spelling are the same, and so is what no container is made with.

use super::Model;
use super::refusal::is_older;
use serde_json::Value;
use std::collections::BTreeSet;

/// A setting of a service that differs. Names it, and shows no value.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Difference {
    /// Its image is built from something else, or goes by another name.
    Build(String),
    /// Its container is made with something else.
    Container(String),
}

impl Difference {
    /// The setting, such as `environment.PORT`.
    pub fn key(&self) -> &str {
        match self {
            Difference::Build(key) | Difference::Container(key) => key,
        }
    }
}

/// How many containers a service has, whichever way that is written.
pub(super) const REPLICAS: &str = "replicas";

/// Settings that no container is made with; Compose leaves them out of its hash, too.
const NOT_OF_THE_CONTAINER: [&str; 5] = ["build", "pull_policy", "scale", "depends_on", PROFILES];

const PROFILES: &str = "profiles";

/// Older versions of Compose replace a container for its service's profiles.
const WITHOUT_PROFILES_SINCE: &str = "2.30.2";

/// Settings whose entries are named one by one.
const BY_NAME: [&str; 7] = ["environment", "labels", "deploy", "healthcheck", "logging", "sysctls", "extra_hosts"];

/// What differs in `service` to Compose in its `version`; `None` where one of the two does not start it.
pub fn differences(before: &Model, after: &Model, service: &str, version: &str) -> Option<BTreeSet<Difference>> {
    let (was, is) = (before.service(service)?, after.service(service)?);
    let mut found = BTreeSet::new();
    // Under another name everything is made again.
    found.extend((before.name() != after.name()).then(|| Difference::Container("name".to_owned())));
    // No container is made otherwise, and there are more of them, or fewer.
    let replicas = |model: &Model| model.config().services.get(service).map(|service| service.replicas);
    found.extend((replicas(before) != replicas(after)).then(|| Difference::Container(REPLICAS.to_owned())));
    if is.get("build").is_some() {
        let image = |model: &Model| model.config().services.get(service).map(|service| service.image.clone());
        let build = changed(was.get("build"), is.get("build"), "build", 2);
        found.extend(build.into_iter().map(Difference::Build));
        found.extend((image(before) != image(after)).then(|| Difference::Build("image".to_owned())));
        found.extend((was.get("platform") != is.get("platform")).then(|| Difference::Build("platform".to_owned())));
    }
    let counts = |key: &String| match key.as_str() {
        PROFILES => is_older(version, WITHOUT_PROFILES_SINCE),
        key => !NOT_OF_THE_CONTAINER.contains(&key),
    };
    for key in keys(was, is).into_iter().filter(counts) {
        let (was, is) = (without_replicas(was, &key), without_replicas(is, &key));
        let depth = if BY_NAME.contains(&key.as_str()) { 1 } else { 0 };
        found.extend(changed(was.as_ref(), is.as_ref(), &key, depth).into_iter().map(Difference::Container));
    }
    found.extend(resources(before, after, was, is).into_iter().map(Difference::Container));
    Some(found)
}

/// The value of `key`, of `deploy` without what only counts containers. That there is one counts.
fn without_replicas(service: &Value, key: &str) -> Option<Value> {
    let mut value = service.get(key)?.clone();
    if key == "deploy"
        && let Some(deploy) = value.as_object_mut()
    {
        deploy.remove("replicas");
        deploy.retain(|_, part| part.as_object().is_none_or(|part| !part.is_empty()));
    }
    Some(value)
}

fn keys(was: &Value, is: &Value) -> BTreeSet<String> {
    let of = |value: &Value| value.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect::<Vec<_>>();
    of(was).into_iter().chain(of(is)).collect()
}

/// The names of what differs, down to so many levels below `name`. What is not set is null.
fn changed(was: Option<&Value>, is: Option<&Value>, name: &str, depth: usize) -> Vec<String> {
    let (was, is) = (was.unwrap_or(&Value::Null), is.unwrap_or(&Value::Null));
    if was == is {
        return Vec::new();
    }
    match (was, is) {
        (Value::Object(_), Value::Object(_)) if depth > 0 => {
            let all = keys(was, is);
            let part = |key: &String| match (was.get(key), is.get(key)) {
                // A variable that is passed on and has no value is one more key all the same.
                (None, Some(Value::Null)) | (Some(Value::Null), None) => vec![format!("{name}.{key}")],
                (was, is) => changed(was, is, &format!("{name}.{key}"), depth - 1),
            };
            all.iter().flat_map(part).collect()
        }
        _ => vec![name.to_owned()],
    }
}

/// Networks, volumes, configs and secrets of the service that are defined otherwise.
fn resources(before: &Model, after: &Model, was: &Value, is: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for kind in ["networks", "volumes", "configs", "secrets"] {
        let shared = used(was, kind).intersection(&used(is, kind)).cloned().collect::<Vec<_>>();
        for name in shared {
            let of = |model: &Model| model.0.get(kind).and_then(|all| all.get(&name)).cloned();
            if of(before) != of(after) {
                found.push(format!("{kind}.{name}"));
            }
        }
    }
    found
}

/// The names that a service has its resources of a kind by.
fn used(service: &Value, kind: &str) -> BTreeSet<String> {
    match service.get(kind) {
        Some(Value::Object(map)) => map.keys().cloned().collect(),
        Some(Value::Array(list)) => {
            list.iter().filter_map(|entry| entry.get("source").and_then(Value::as_str).map(str::to_owned)).collect()
        }
        _ => BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn keys_of(before: Value, after: Value) -> Vec<String> {
        let model = |service: Value| {
            Model(json!({"name": "shop", "services": {"web": service}, "networks": {"n": {"name": "shop_n"}}}))
        };
        let found = differences(&model(before), &model(after), "web", "2.40.3").expect("both have it");
        found.iter().map(|difference| format!("{difference:?}")).collect()
    }

    #[test]
    fn a_setting_is_named_and_its_value_is_not() {
        for (before, after, wanted) in [
            (
                json!({"environment": {"A": "1", "B": "x"}}),
                json!({"environment": {"B": "x", "A": "2"}}),
                vec!["Container(\"environment.A\")"],
            ),
            (
                json!({"environment": {"A": "1"}}),
                json!({"environment": {"A": "1", "N": null}}),
                vec!["Container(\"environment.N\")"],
            ),
            (
                json!({"build": {"context": "/a", "args": {"V": "1"}}}),
                json!({"build": {"context": "/a", "args": {"V": "2"}}}),
                vec!["Build(\"build.args.V\")"],
            ),
            (json!({"image": "a:1"}), json!({"image": "a:2"}), vec!["Container(\"image\")"]),
            (json!({"command": ["a"]}), json!({"command": ["b"]}), vec!["Container(\"command\")"]),
            (json!({"scale": 0}), json!({}), vec!["Container(\"replicas\")"]),
            (json!({"scale": 3}), json!({"deploy": {"replicas": 3}}), vec!["Container(\"deploy\")"]),
            (
                json!({}),
                json!({"attach": false, "develop": {}}),
                vec!["Container(\"attach\")", "Container(\"develop\")"],
            ),
        ] {
            assert_eq!(keys_of(before, after), wanted);
        }
    }

    #[test]
    fn what_no_container_is_made_with_differs_in_vain() {
        for (before, after) in [
            (json!({"deploy": {"replicas": 1, "placement": {}}}), json!({"deploy": {"replicas": 1}})),
            (json!({"depends_on": {"db": {}}, "profiles": ["a"]}), json!({})),
            (json!({"command": null}), json!({})),
        ] {
            assert_eq!(keys_of(before.clone(), after.clone()), [""; 0], "{before} {after}");
        }
    }

    #[test]
    fn profiles_count_where_compose_is_old_enough() {
        let model = |profiles: Value| Model(json!({"name": "shop", "services": {"web": {"profiles": profiles}}}));
        let differ = |version: &str| {
            let found = differences(&model(json!(["a"])), &model(json!(["a", "b"])), "web", version);
            !found.expect("both have it").is_empty()
        };
        assert!(differ("2.26.1-4") && !differ("2.30.2") && !differ("2.40.3"));
    }

    #[test]
    fn under_another_name_every_service_is_made_again() {
        let model = |name: &str| Model(json!({"name": name, "services": {"web": {"network_mode": "host"}}}));
        let found = differences(&model("shop"), &model("store"), "web", "").expect("both have it");
        assert_eq!(found.iter().map(Difference::key).collect::<Vec<_>>(), ["name"]);
    }

    #[test]
    fn a_resource_that_is_defined_otherwise_is_one_more_difference() {
        let model = |subnet: &str| {
            Model(
                json!({"name": "shop", "services": {"web": {"networks": {"n": null}}, "db": {}}, "networks": {"n": {"ipam": subnet}}}),
            )
        };
        let (before, after) = (model("1"), model("2"));
        let found = differences(&before, &after, "web", "").expect("both");
        assert_eq!(found.first().map(Difference::key), Some("networks.n"));
        assert_eq!(differences(&before, &after, "db", ""), Some(BTreeSet::new()));
        assert_eq!(differences(&before, &after, "new", ""), None);
    }
}
