//! Container names that the compose file fixes and that somebody else has: `up` would fail for them
//! after everything was built. It happens where a project was started by hand under another name.

use super::LIMIT;
use super::finding::Finding;
use super::needs;
use cm_core::{Exit, Result};
use cm_engine::Config;
use cm_host::Host;

/// Every container's name and its compose project, which may be none. One that was started by hand from an
/// image that Compose has built has the image's labels, and no number.
const NAMES: &str = r#"# Looks at the names of containers.
exec docker ps -a --format '{{.Names}} {{if .Label "com.docker.compose.container-number"}}{{.Label "com.docker.compose.project"}}{{end}}'"#;

/// The names of the host's containers, and whose they are.
///
/// # Errors
/// [`Exit::Unreachable`]; [`Exit::HealthUnknown`] if the engine does not answer.
pub async fn list(host: &Host) -> Result<String> {
    host.script(NAMES, [""; 0]).limit(LIMIT).text(Exit::HealthUnknown, "engine.unreachable").await
}

/// Those of `config` that containers of other projects have.
pub fn taken(config: &Config, containers: &str) -> Vec<Finding> {
    let owner = |name: &str| {
        let pairs = containers.lines().map(|line| line.split_once(' ').unwrap_or((line, "")));
        pairs.into_iter().find(|(other, _)| *other == name).map(|(_, project)| project.trim())
    };
    let of_another = config.services.values().filter_map(|definition| {
        let name = definition.container_name.as_deref()?;
        owner(name).filter(|project| *project != config.project).map(|project| (name, project))
    });
    of_another.map(|(name, project)| finding(name, project, &config.project)).collect()
}

fn finding(name: &str, project: &str, own: &str) -> Finding {
    let (whose, or) = match project {
        "" => ("of no compose project".to_owned(), String::new()),
        project => (
            format!("of the compose project {project}"),
            format!("; or give this one its name: `name: {project}` in the compose file, COMPOSE_PROJECT_NAME there"),
        ),
    };
    let message = format!("the container {name} is there already, {whose}: one of {own} cannot have its name");
    Finding::fail(Exit::Config, &needs::NAME, message)
        .hint(format!("if nothing of it is needed: docker rm -f {name} there{or}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_name_that_another_project_has_is_found() {
        let config = Config::read(&json!({"name": "shop", "services": {
            "web": {"container_name": "shop-web"}, "db": {"container_name": "shop-db"}, "api": {}, "job": {"container_name": "shop-job"},
        }}));
        let found = |containers: &str| -> Vec<String> {
            taken(&config, containers).into_iter().map(|finding| finding.message).collect()
        };
        assert_eq!(found("shop-web shop\nshop-api-1 other\n"), Vec::<String>::new());
        let two = found("shop-web prod\nshop-db \nelse other");
        assert!(
            two.len() == 2
                && two.iter().any(|one| one.contains("shop-web is there already, of the compose project prod"))
        );
        assert!(two.iter().any(|one| one.contains("shop-db is there already, of no compose project")), "{two:?}");
    }
}
