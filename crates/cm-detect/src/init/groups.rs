//! Groups by folder: services whose sources lie together are deployed together.

use cm_project::compose::{Compose, Context, Service};
use cm_project::tree;
use std::collections::BTreeMap;

/// The folder a service's sources are in: its context, or its Dockerfile's folder where
/// the context is the whole repository. `None` for what is pulled, or has no own folder.
pub fn own_folder(service: &Service, prefix: &str) -> Option<String> {
    let build = service.build.as_ref()?;
    let Context::Folder(context) = &build.context else { return None };
    let dockerfile = build.dockerfile.as_deref().unwrap_or_default();
    let of_dockerfile = tree::Place::at(context, dockerfile).inside().map(|path| tree::parent(path).to_owned());
    let folder = match context == prefix || context.is_empty() {
        true => of_dockerfile.unwrap_or_default(),
        false => context.clone(),
    };
    (!folder.is_empty() && folder != prefix).then_some(folder)
}

/// Groups of at least two services, each called after its folder.
pub fn groups(compose: &Compose, prefix: &str) -> Vec<(String, Vec<String>)> {
    let mut by_folder: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for service in &compose.services {
        let Some(folder) = own_folder(service, prefix) else { continue };
        for folder in [folder.as_str(), tree::parent(&folder)] {
            if !folder.is_empty() && folder != prefix {
                by_folder.entry(folder.to_owned()).or_default().push(service.name.clone());
            }
        }
    }
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for (folder, services) in by_folder.into_iter().filter(|(_, services)| services.len() > 1) {
        let name = folder.rsplit('/').next().unwrap_or(&folder).to_owned();
        let known = groups.iter().any(|(other, members)| *other == name || *members == services);
        if !known {
            groups.push((name, services));
        }
    }
    groups
}
