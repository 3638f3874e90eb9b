//! One image, one name: as `docker image ls` lists it.

/// The name under which the engine lists the image that goes by `name`.
pub(crate) fn full_name(name: &str) -> String {
    let name = ["docker.io/library/", "index.docker.io/library/", "docker.io/", "index.docker.io/"]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or(name);
    let tagged = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
    if tagged { name.to_owned() } else { format!("{name}:latest") }
}
