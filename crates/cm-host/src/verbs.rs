//! Which commands change a host, as far as their words tell. The types say it first: this is the
//! second look, for a command that was made by the handle that only reads.

/// What `docker` does that changes something.
const DOCKER: &[&str] = &[
    "build", "commit", "cp", "create", "image", "import", "kill", "load", "network", "pause", "pull", "push", "rename",
    "restart", "rm", "rmi", "run", "start", "stop", "swarm", "system", "tag", "unpause", "update", "volume", "wait",
];

/// What the commands of groups such as `docker image` do that only look.
const LOOKS: &[&str] = &["df", "history", "info", "inspect", "ls", "list", "ps"];

/// What `docker compose` does that only looks.
const COMPOSE_LOOKS: &[&str] =
    &["config", "convert", "events", "images", "logs", "ls", "port", "ps", "stats", "top", "version", "volumes"];

/// Whether this command changes something. Of one that is not Docker's nobody can tell.
pub fn changes(argv: &[String]) -> bool {
    let mut words = argv.iter().map(String::as_str);
    if words.next() != Some("docker") {
        return false;
    }
    let mut words = words.skip_while(|word| word.starts_with('-'));
    match words.next() {
        Some("compose") => compose_changes(words),
        Some(group @ ("image" | "network" | "system" | "volume" | "container" | "builder" | "service" | "stack")) => {
            let looks =
                words.next().is_none_or(|verb| LOOKS.contains(&verb) || (group == "container" && verb == "logs"));
            !looks
        }
        Some(verb) => DOCKER.contains(&verb),
        None => false,
    }
}

/// The first word that is neither an option of `docker compose` nor the value of one.
fn compose_changes<'a>(mut words: impl Iterator<Item = &'a str>) -> bool {
    while let Some(word) = words.next() {
        match word {
            "--ansi"
            | "--project-directory"
            | "-f"
            | "--file"
            | "--env-file"
            | "--profile"
            | "-p"
            | "--project-name"
            | "--progress"
            | "--parallel" => drop(words.next()),
            option if option.starts_with('-') => {}
            // A `docker compose exec` is what its command makes of it, as `docker exec` is.
            "exec" => return false,
            verb => return !COMPOSE_LOOKS.contains(&verb),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::changes;

    #[test]
    fn what_changes_is_known_by_its_words() {
        let is_change = |line: &str| changes(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        for line in [
            "docker rm x",
            "docker stop x",
            "docker tag a b",
            "docker image rm --no-prune x",
            "docker compose --ansi never --project-directory . -f ps.yml --env-file .env up -d",
            "docker compose restart web",
            "docker container prune",
        ] {
            assert!(is_change(line), "{line}");
        }
        for line in [
            "docker inspect --type container x",
            "docker image ls",
            "docker image inspect x",
            "docker ps -aq",
            "docker logs x",
            "docker exec x cat /etc/up",
            "docker compose --ansi never -f up config --format json",
            "docker volume ls",
            "docker",
            "git diff rm",
            "sh -c docker rm",
        ] {
            assert!(!is_change(line), "{line}");
        }
    }
}
