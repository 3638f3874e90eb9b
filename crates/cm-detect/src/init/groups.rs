//! Groups by directory: services whose sources lie together are deployed together.

use cm_project::compose::{Compose, Context, Service};
use cm_project::tree;
use std::collections::BTreeMap;

/// The directory a service's sources are in: its context, or its Dockerfile's directory where
/// the context is the whole repository. `None` for what is pulled, or has no own directory.
pub fn own_directory(service: &Service, prefix: &str) -> Option<String> {
    let build = service.build.as_ref()?;
    let Context::Directory(context) = &build.context else { return None };
    let dockerfile = build.dockerfile.as_deref().unwrap_or_default();
    let of_dockerfile = tree::Place::at(context, dockerfile).inside().map(|path| tree::parent(path).to_owned());
    let directory = match context == prefix || context.is_empty() {
        true => of_dockerfile.unwrap_or_default(),
        false => context.clone(),
    };
    (!directory.is_empty() && directory != prefix).then_some(directory)
}

/// Groups of at least two services, each called after its directory.
pub fn groups(compose: &Compose, prefix: &str) -> Vec<(String, Vec<String>)> {
    let mut by_directory: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for service in &compose.services {
        let Some(directory) = own_directory(service, prefix) else { continue };
        for directory in [directory.as_str(), tree::parent(&directory)] {
            if !directory.is_empty() && directory != prefix {
                by_directory.entry(directory.to_owned()).or_default().push(service.name.clone());
            }
        }
    }
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for (directory, services) in by_directory.into_iter().filter(|(_, services)| services.len() > 1) {
        let name = directory.rsplit('/').next().unwrap_or(&directory).to_owned();
        let known = groups.iter().any(|(other, members)| *other == name || *members == services);
        if !known {
            groups.push((name, services));
        }
    }
    groups
}
