//! What ran before keeps a name of its own, so that a rollback finds it.

use cm_core::{Exit, Result};
use cm_engine::Container;
use cm_host::Fenced;
use futures_util::future::join_all;
use std::collections::BTreeSet;

/// Names the images of those `containers` that are replaced: of the services in `replaced`, by release `id`. An
/// image that only a container's id holds is lost to a cleaning cron job once the container is replaced, be it
/// built or pulled.
///
/// # Errors
/// [`Exit::Build`] with what Docker said; [`Exit::LockLost`], [`Exit::Unreachable`].
pub async fn keep_old_images(
    host: &Fenced,
    containers: &[Container],
    replaced: &BTreeSet<String>,
    id: &str,
) -> Result<()> {
    let is_kept = |container: &&Container| {
        let named = !container.image_id.is_empty() && !container.image.starts_with("sha256:");
        named && replaced.contains(&container.service)
    };
    let keep = containers.iter().filter(is_kept).map(|container| async move {
        let name = format!("{}:cm-before-{id}", repository(&container.image));
        // Once: a run that is resumed may see its own container here.
        cm_engine::tag_once(host, &container.image_id, &name, Exit::Build).await
    });
    join_all(keep).await.into_iter().collect()
}

/// An image's name without its tag or digest.
pub fn repository(image: &str) -> &str {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::repository;

    #[test]
    fn an_images_repository_is_found_behind_ports_tags_and_digests() {
        for (image, wanted) in [
            ("web", "web"),
            ("acme/web:1.2", "acme/web"),
            ("registry:5000/acme/web", "registry:5000/acme/web"),
            ("registry:5000/acme/web:1", "registry:5000/acme/web"),
            ("acme/web@sha256:00", "acme/web"),
        ] {
            assert_eq!(repository(image), wanted);
        }
    }
}
