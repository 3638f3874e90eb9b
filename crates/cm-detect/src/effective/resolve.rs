//! The project's own model with a host's values for its variables: which paths are meant decides
//! which files a service depends on.

use super::{Effective, Known};
use cm_core::Result;
use cm_engine::effective::Model;
use cm_project::Project;
use cm_project::compose::{Compose, Warning};
use cm_project::tree::Tree;
use std::collections::BTreeMap;

/// The values of variables by host.
pub type Values = BTreeMap<String, BTreeMap<String, Option<String>>>;

impl Effective {
    /// What each host that answered has for the variables of the compose files.
    pub fn values(&self) -> Values {
        self.hosts.iter().map(|(host, known)| (host.clone(), values(known))).collect()
    }
}

/// The values of one host. A path into its checkout means the same here.
fn values(known: &Known) -> BTreeMap<String, Option<String>> {
    let mut values = known.head().map(Model::variables).unwrap_or_default();
    for value in values.values_mut().flatten() {
        if let Some(inside) = value.strip_prefix(&known.answer.path)
            && (inside.is_empty() || inside.starts_with('/'))
        {
            *value = format!(".{inside}");
        }
    }
    values
}

/// Reads the compose files of `of` in `tree`; each service as the host that runs it in `project` has its
/// variables.
///
/// # Errors
/// As [`Project::read_compose`].
pub fn load(tree: &dyn Tree, of: &Project, project: &Project, values: &Values) -> Result<Compose> {
    let mut whole = of.read_compose(tree)?;
    for (host, values) in values {
        if let Ok(there) = of.read_compose_with(tree, values) {
            take(&mut whole, there, &|service| project.host_of(service).is_none_or(|of| of.name == *host));
        }
    }
    Ok(whole)
}

/// Puts what a host's values make of `own` services, and of the whole, in the place of what is known without.
fn take(whole: &mut Compose, there: Compose, own: &dyn Fn(&str) -> bool) {
    whole.name = there.name;
    whole.profiles.extend(there.profiles);
    let is_own = |warning: &Warning| warning.service.as_deref().is_none_or(own);
    whole.warnings.retain(|warning| !is_own(warning));
    whole.warnings.extend(there.warnings.into_iter().filter(is_own));
    for service in there.services.into_iter().filter(|service| own(&service.name)) {
        match whole.services.iter_mut().find(|known| known.name == service.name) {
            Some(known) => *known = service,
            None => whole.services.push(service),
        }
    }
}
