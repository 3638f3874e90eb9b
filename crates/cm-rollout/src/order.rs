//! Which of two containers goes first: the new one in, or the old one out.

use cm_core::{Exit, Failure, Result};
use cm_engine::Definition;
use cm_project::{Project, ServiceSection, Update};

/// How a service's containers are replaced.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Order {
    /// The new container is well before the old one leaves.
    Rolling,
    /// The old one leaves first; why.
    StopFirst(String),
}

impl Order {
    /// Whether no moment is without a container.
    pub fn is_rolling(&self) -> bool {
        *self == Order::Rolling
    }

    /// For people: `rolling`, or `stop-first: WHY`.
    pub fn words(&self) -> String {
        match self {
            Order::Rolling => "rolling".to_owned(),
            Order::StopFirst(why) => format!("stop-first: {why}"),
        }
    }

    /// What `cm.toml` asks for, else what the definition allows. Two run at once only where
    /// the file shows no harm in it and something says when the new one is ready: a store
    /// from somebody else's image, or a clock that must tick once, is never doubled by guess.
    ///
    /// # Errors
    /// [`Exit::Config`] if `update = "rolling"` is asked of a service that cannot run twice.
    pub fn of(project: &Project, service: &str, definition: &Definition) -> Result<Order> {
        decide(service, &project.rules(service), definition)
    }
}

fn decide(service: &str, rules: &ServiceSection, definition: &Definition) -> Result<Order> {
    match (rules.update, &definition.single) {
        (Some(Update::Rolling), None) => return Ok(Order::Rolling),
        (Some(Update::Rolling), Some(why)) => {
            let message = format!(
                "service {service} cannot be updated rolling: {why}, so no second container can run beside the first"
            );
            return Err(Failure::new(Exit::Config, "config.update", message)
                .hint(format!("put a proxy in front of it, or set update = \"stop-first\" in [services.{service}]")));
        }
        (Some(Update::StopFirst), _) => return Ok(Order::StopFirst("cm.toml asks for it".to_owned())),
        (None, _) => {}
    }
    let why = definition.single.clone().or_else(|| definition.exclusive.clone()).or_else(|| {
        let ready = definition.has_healthcheck || rules.probe.is_some();
        match () {
            () if !definition.restarts => Some("it is a job"),
            () if !definition.builds => Some("its image is not built here"),
            () if !ready => Some("nothing says when a new one is ready"),
            () => None,
        }
        .map(str::to_owned)
    });
    Ok(why.map_or(Order::Rolling, Order::StopFirst))
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
    fn only_what_can_run_twice_and_says_when_it_is_ready_is_doubled_unasked() {
        let none = ServiceSection::default();
        assert!(order(web(json!({})), &none).expect("valid").is_rolling());
        for more in [
            json!({"ports": [{"published": "80"}]}),
            json!({"volumes": [{"type": "volume", "target": "/data"}]}),
            json!({"healthcheck": null}),
            json!({"build": null}),
            json!({"restart": "no"}),
        ] {
            let mut service = web(more.clone());
            if more["build"].is_null() && more.get("build").is_some() {
                service.as_object_mut().expect("an object").remove("build");
            }
            assert!(!order(service, &none).expect("valid").is_rolling(), "{more}");
        }
        let probed = ServiceSection {
            probe: Some(cm_project::Probe::Address("http://127.0.0.1/".to_owned())),
            ..ServiceSection::default()
        };
        assert!(order(web(json!({"healthcheck": null})), &probed).expect("valid").is_rolling());
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
