//! Which of two containers goes first: the new one in, or the old one out.

use cm_core::{Exit, Failure, Result};
use cm_engine::Definition;
use cm_project::{Project, ServiceSection, Update};

/// How a service's containers are replaced.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Order {
    /// The new container is healthy before the old one leaves; why, where nobody asked for it.
    Rolling(Option<String>),
    /// The old one leaves first; why.
    StopFirst(String),
}

impl Order {
    /// Whether no moment is without a container.
    pub fn is_rolling(&self) -> bool {
        matches!(self, Order::Rolling(_))
    }

    /// For people: `rolling`, `rolling: WHY`, or `stop-first: WHY`.
    pub fn words(&self) -> String {
        match self {
            Order::Rolling(None) => "rolling".to_owned(),
            Order::Rolling(Some(why)) => format!("rolling: {why}"),
            Order::StopFirst(why) => format!("stop-first: {why}"),
        }
    }

    /// What `cm.toml` asks for. Where it says nothing, the old one leaves first: that a service
    /// can run twice is its owner's knowledge, and a store, or a clock that must tick once, looks
    /// like any other service. But the compose file may tell: what it runs several times
    /// anyhow, with nothing that is only one's and with a check that says when it is ready,
    /// is replaced without a gap.
    ///
    /// # Errors
    /// [`Exit::Config`] if `update = "rolling"` is asked of a service that cannot run twice.
    pub fn of(project: &Project, service: &str, definition: &Definition) -> Result<Order> {
        decide(service, &project.rules(service), definition)
    }
}

fn decide(service: &str, rules: &ServiceSection, definition: &Definition) -> Result<Order> {
    match (rules.update, &definition.single) {
        (Some(Update::Rolling), None) => Ok(Order::Rolling(None)),
        (Some(Update::Rolling), Some(why)) => {
            let message = format!(
                "service {service} cannot be updated rolling: {why}, so no second container can run alongside the first"
            );
            Err(Failure::new(Exit::Config, "config.update", message)
                .hint(format!("put a proxy in front of it, or set update = \"stop-first\" in [services.{service}]")))
        }
        (Some(Update::StopFirst), _) => Ok(Order::StopFirst("cm.toml asks for it".to_owned())),
        (None, None) if runs_twice(rules, definition) => {
            Ok(Order::Rolling(Some(format!("the compose file runs {} of it", definition.replicas))))
        }
        (None, single) => {
            let why = single.clone().or_else(|| definition.exclusive.clone());
            Ok(Order::StopFirst(why.unwrap_or_else(|| "cm.toml does not ask for rolling".to_owned())))
        }
    }
}

fn runs_twice(rules: &ServiceSection, definition: &Definition) -> bool {
    let tells = definition.has_healthcheck || rules.probe.is_some();
    definition.replicas > 1 && definition.exclusive.is_none() && tells
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn order(service: Value, rules: &ServiceSection) -> Result<Order> {
        let config = cm_engine::Config::read(&json!({"name": "shop", "services": {"web": service}}));
        decide("web", rules, &config.services["web"])
    }

    fn web(more: Value) -> Value {
        let mut web = json!({"build": {}, "restart": "always", "healthcheck": {"test": ["CMD", "true"]}});
        for (key, value) in more.as_object().expect("an object") {
            web[key] = value.clone();
        }
        web
    }

    #[test]
    fn nothing_is_doubled_unasked() {
        let none = ServiceSection::default();
        for more in [json!({}), json!({"volumes": [{"type": "volume", "target": "/data"}]})] {
            assert!(!order(web(more.clone()), &none).expect("valid").is_rolling(), "{more}");
        }
    }

    #[test]
    fn what_runs_several_times_anyhow_may_once_more() {
        let none = ServiceSection::default();
        let three = web(json!({"deploy": {"replicas": 3}}));
        assert_eq!(order(three, &none).expect("valid").words(), "rolling: the compose file runs 3 of it");
        for more in [
            json!({"volumes": [{"type": "volume", "target": "/data"}]}),
            json!({"healthcheck": {"disable": true}}),
            json!({"ports": [{"published": "80-82"}]}),
        ] {
            let mut three = web(more.clone());
            three["deploy"] = json!({"replicas": 3});
            assert!(!order(three, &none).expect("valid").is_rolling(), "{more}");
        }
        let first = ServiceSection { update: Some(Update::StopFirst), ..ServiceSection::default() };
        assert!(!order(web(json!({"deploy": {"replicas": 3}})), &first).expect("valid").is_rolling());
    }

    #[test]
    fn the_owner_knows_better_except_about_what_cannot_be() {
        let rolling = ServiceSection { update: Some(Update::Rolling), ..ServiceSection::default() };
        let volume = web(json!({"volumes": [{"type": "volume", "target": "/data"}]}));
        assert!(order(volume, &rolling).expect("valid").is_rolling());
        let port = order(web(json!({"ports": [{"published": "80"}]})), &rolling).expect_err("impossible");
        assert_eq!((port.exit, port.code.as_str()), (Exit::Config, "config.update"));
        let first = ServiceSection { update: Some(Update::StopFirst), ..ServiceSection::default() };
        assert!(!order(web(json!({})), &first).expect("valid").is_rolling());
    }
}
