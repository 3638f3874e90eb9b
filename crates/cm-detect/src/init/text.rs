//! The text of `cm.toml`: what it says, and in comments why, and what else could be said.

use super::database::Backup;
use super::endpoint::Endpoint;
use super::survey::{Outside, Survey};

/// The file.
pub fn render(survey: &Survey) -> String {
    let sections = [
        head(survey),
        compose(survey),
        hosts(survey),
        groups(survey),
        protect(survey),
        services(survey),
        health(),
        outside(survey),
        rollback(survey),
        backup(survey),
        rest(),
    ];
    sections.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

/// A string as TOML writes it; JSON's escapes are a part of TOML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn list(items: &[String]) -> String {
    format!("[{}]", items.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", "))
}

/// Text in a comment: nothing in it ends the line.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Several in a comment.
fn plain_list(items: &[String]) -> String {
    items.iter().map(|item| plain(item)).collect::<Vec<_>>().join(", ")
}

/// A key, in quotes where it needs them.
fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if bare { name.to_owned() } else { quoted(name) }
}

fn head(survey: &Survey) -> Option<String> {
    let remote = survey.remote.as_ref().map_or(String::new(), |remote| format!("remote = {}\n", quoted(remote)));
    Some(format!(
        "# How this repository is deployed: written by `cm-detect --init` from what it found here.\n\
         # Every key is explained in cm.toml(5); what is not said is read from the compose file.\n\
         # ${{NAME}} and ${{NAME:-default}} are taken from the environment of whoever deploys.\n\n\
         project = {}\nbranch = {}\n{remote}\
         # repository = \"git@…\"     # what a new server clones, if it is not the URL of the remote here\n",
        quoted(&survey.project),
        quoted(&survey.branch)
    ))
}

fn compose(survey: &Survey) -> Option<String> {
    let mut text = format!("[compose]\nfiles = {}\n", list(&survey.compose_files));
    match &survey.environment.file {
        Some(file) => {
            text.push_str(&format!("# Each server's own, never deployed: {}.\n", plain(&survey.environment.because)));
            text.push_str(&format!("env_file = {}\n", quoted(file)));
        }
        None => text.push_str(
            "# env_file = \".env\"     # the server's own values for ${…} in the compose file, if it has any\n",
        ),
    }
    if !survey.left_out.is_empty() {
        text.push_str(&format!(
            "# Compose would also take this by itself; it is not deployed unless it is named above: {}.\n",
            plain_list(&survey.left_out)
        ));
    }
    if !survey.profiles.is_empty() || !survey.active.is_empty() {
        let profiles: Vec<String> = survey.profiles.iter().cloned().collect();
        text.push_str(&format!(
            "# Services of profiles are left alone unless their profile is named here: {}.\nprofiles = {}\n",
            plain_list(&profiles),
            list(&survey.active)
        ));
    }
    Some(text)
}

fn hosts(survey: &Survey) -> Option<String> {
    let intro = "# The server. It takes every service that no other host names; a second one would be\n\
                 # [hosts.other] with `services = [\"…\"]`.\n";
    Some(match &survey.host {
        None => format!(
            "{intro}[hosts.server]\n\
             address = \"${{DEPLOY_USER:-deploy}}@${{DEPLOY_HOST}}\"     # or write it down: \"deploy@203.0.113.7\"\n\
             checkout = {}\n",
            quoted(&format!("~/{}", survey.project))
        ),
        Some((name, address, checkout)) => {
            let checkout = checkout.clone().unwrap_or_else(|| format!("~/{}", survey.project));
            let plain = |text: &str| quoted(&text.replace('$', "$$"));
            format!("{intro}[hosts.{}]\naddress = {}\ncheckout = {}\n", key(name), plain(address), plain(&checkout))
        }
    })
}

fn groups(survey: &Survey) -> Option<String> {
    if survey.groups.is_empty() {
        return None;
    }
    let lines = survey.groups.iter().map(|(name, services)| format!("{} = {}\n", key(name), list(services)));
    Some(format!(
        "# Services by directory: `cm-detect --group NAME` takes all of one.\n[groups]\n{}",
        lines.collect::<String>()
    ))
}

fn protect(survey: &Survey) -> Option<String> {
    let mut text = String::from(
        "# Files of the checkout that belong to the server: a deployment never touches them.\n[protect]\n",
    );
    text.push_str(&format!("files = {}\n", list(&survey.protect)));
    if !survey.perhaps_protect.is_empty() {
        text.push_str(&format!(
            "# Mounted into containers and deployed like any other file. If servers have edited versions\n\
             # of their own, add them: {}\n",
            plain_list(&survey.perhaps_protect)
        ));
    }
    Some(text)
}

fn services(survey: &Survey) -> Option<String> {
    let mut text = String::new();
    for reload in &survey.reloads {
        text.push_str(&format!(
            "# A changed configuration is tried out and read again, without a restart.\n\
             [services.{}]\non_change = \"reload\"\nvalidate = {}\nreload = {}\n\n",
            key(&reload.service),
            list(&reload.validate),
            list(&reload.reload)
        ));
    }
    let mut unknown = Vec::new();
    for (name, endpoint) in &survey.unchecked {
        match endpoint {
            Some(at) => text.push_str(&suggestion(name, at)),
            None => unknown.push(name.as_str()),
        }
    }
    if !unknown.is_empty() {
        text.push_str(&format!(
            "# Nothing checks these, so they count as healthy while they run without restarting: {}.\n\
             # Better: a healthcheck in the compose file, or here\n\
             # [services.NAME]\n# probe = \"http://127.0.0.1:PORT/\"\n",
            plain(&unknown.join(", "))
        ));
    }
    if !survey.awaited.is_empty() {
        text.push_str(&format!(
            "# Run once in a release, with the new image and before any container is replaced, because other services\n\
             # wait for the end of each: {}.\n",
            plain_list(&survey.awaited)
        ));
    }
    if !survey.jobs.is_empty() {
        text.push_str(&format!(
            "# Taken for services that end, because the compose file says of none that it stays: {}.\n\
             # One that stays wants `restart: unless-stopped` there, or a probe here. One that has to run once in a release,\n\
             # with the new image and before any container is replaced, such as a migration, wants\n\
             # [services.NAME]\n# job = true\n",
            plain_list(&survey.jobs)
        ));
    }
    (!text.is_empty()).then(|| text.trim_end_matches('\n').to_owned() + "\n")
}

fn suggestion(name: &str, at: &Endpoint) -> String {
    format!(
        "# Nothing checks {}. {} names {}; if that says whether it is healthy, switch this on.\n\
         # [services.{}]\n# probe = \"http://127.0.0.1:{}{}\"     # 127.0.0.1 is the container\n\n",
        plain(name),
        plain(&at.from),
        plain(&at.path),
        plain(&key(name)),
        at.port,
        plain(&at.path)
    )
}

fn health() -> Option<String> {
    Some(
        "# Healthy is what was seen to be: good readings over a whole window, with nothing restarted.\n\
         [health]\ntimeout = \"180s\"\nreadings = 3\nwindow = \"10s\"\n"
            .to_owned(),
    )
}

/// How the first server is reached from outside, as far as it is known.
fn server(survey: &Survey) -> String {
    let address = survey.host.as_ref().map(|(_, address, _)| address.as_str());
    let name = match address {
        Some("local") => Some("127.0.0.1".to_owned()),
        other => other.and_then(cm_host::url_host),
    };
    name.map_or_else(|| "${DEPLOY_HOST}".to_owned(), |name| name.replace('$', "$$"))
}

fn outside(survey: &Survey) -> Option<String> {
    let mut text =
        String::from("# Asked after every deployment, from the machine that deploys. A failure rolls it back.\n");
    let url = |port: u16, at: &Endpoint| {
        quoted(&format!("http://{}{}{}", server(survey), colon(port), at.path.replace('$', "$$")))
    };
    let canary = survey.outside.first().filter(|outside| outside.is_users);
    if let Some(Outside { service, port, endpoint, .. }) = canary {
        text.push_str(&format!(
            "# If a name and https lead to the server, write that instead: {} publishes port {port},\n\
             # and {} asks {}.\n[canary]\nurl = {}\n",
            plain(service),
            plain(&endpoint.from),
            plain(&endpoint.path),
            url(*port, endpoint)
        ));
    } else {
        let ports =
            survey.ports.iter().map(|(service, port)| format!("{service} publishes {port}")).collect::<Vec<_>>();
        let known = if ports.is_empty() { "no port is published to it".to_owned() } else { ports.join(", ") };
        text.push_str(&format!(
            "# Nothing {}is asked yet: no health check here names a URL that the outside reaches ({}).\n\
             # [canary]\n# url = \"https://{}.example/health\"\n",
            if survey.outside.is_empty() { "" } else { "that users reach " },
            plain(&known),
            plain(&survey.project)
        ));
    }
    Some(text + &checks(survey, &url))
}

/// The port as a URL of `http` has it.
fn colon(port: u16) -> String {
    if port == 80 { String::new() } else { format!(":{port}") }
}

/// What a release is verified by, so that a later rollback may choose it.
fn checks(survey: &Survey, url: &dyn Fn(u16, &Endpoint) -> String) -> String {
    let mut text = String::new();
    for Outside { service, port, endpoint, .. } in &survey.outside {
        let (name, url) = (quoted(service), url(*port, endpoint));
        text.push_str(&format!("\n[[verify.checks]]\nname = {name}\nurl = {url}\nstatus = 200\n"));
    }
    if let (true, [_, ..]) = (text.is_empty(), survey.inside.as_slice()) {
        text.push_str(
            "\n# Asked through the server, by the name of the service, which publishes no port to the outside.",
        );
    }
    for (service, endpoint) in &survey.inside {
        let url = format!("http://{service}:{}{}", endpoint.port, endpoint.path.replace('$', "$$"));
        text.push_str(&format!(
            "\n[[verify.checks]]\nname = {}\nurl = {}\nin_network = true\nstatus = 200\n",
            quoted(service),
            quoted(&url)
        ));
    }
    if text.is_empty() {
        let (name, url, how) = match &survey.perhaps {
            Some(at) if at.is_published => {
                (&at.service, format!("http://{}{}{}", server(survey), colon(at.port), at.path), "")
            }
            Some(at) => (&at.service, format!("http://{}:{}{}", at.service, at.port, at.path), "# in_network = true\n"),
            None => (&survey.project, format!("https://{}.example/", survey.project), ""),
        };
        text = format!(
            "\n# Nothing verifies a release yet, so that no later rollback chooses one by itself. Complete this: a URL, and\n\
             # what it answers when all is well.\n# [[verify.checks]]\n# name = {}\n# url = {}\n{how}# status = 200\n",
            plain(&quoted(name)),
            plain(&quoted(&url))
        );
    }
    text
}

/// What keeps a rollback from running older code on changed data.
fn rollback(survey: &Survey) -> Option<String> {
    if survey.awaited.is_empty() {
        return None;
    }
    Some(if survey.migrations.is_empty() {
        format!(
            "# As it is, every run of {} is taken to change data for good, and a failed release with one is not rolled\n\
             # back by itself. If only changes of certain files do that, name them:\n# [rollback]\n# migrations = [\"migrations/**\"]\n",
            plain_list(&survey.awaited)
        )
    } else {
        format!(
            "# A release that changes these files is not rolled back without being asked; any other is, although {} ran.\n\
             [rollback]\nmigrations = {}\n",
            plain_list(&survey.awaited),
            list(&survey.migrations)
        )
    })
}

fn backup(survey: &Survey) -> Option<String> {
    let mut text = String::new();
    if survey.backup.is_some() || !survey.dumped.is_empty() {
        text.push_str("# A verified backup before every deployment that changes something.\n");
    }
    // Of several tables each is one of a list.
    let head = if survey.dumped.is_empty() { "[backup]" } else { "[[backup]]" };
    if let Some(backup) = &survey.backup {
        mongodb(survey, backup, head, &mut text);
    }
    for database in &survey.dumped {
        text.push_str(&format!(
            "# User, password and database are those of its container's variables.\n\
             [[backup]]\nkind = {}\nservice = {}\ndirectory = \"~/backups\"\n",
            quoted(database.kind.as_str()),
            quoted(&database.service)
        ));
    }
    if !survey.other_databases.is_empty() {
        text.push_str(&format!(
            "# Nothing here backs up {}: see [[backup]] in cm.toml(5).\n",
            plain_list(&survey.other_databases)
        ));
    }
    (!text.is_empty()).then_some(text)
}

fn mongodb(survey: &Survey, backup: &Backup, head: &str, text: &mut String) {
    let usable = survey.backup_is_on();
    let off = if usable { "" } else { "# " };
    let uri_env = backup.uri_env.as_deref().unwrap_or("MONGODB_URI");
    match (&backup.seen_in, usable) {
        (Some(file), true) => {
            text.push_str(&format!("# The key of the server's env file with the URI: seen in {}.\n", plain(file)))
        }
        _ => text.push_str(
            "# Switched off: put the database's URI into the server's env file (and name that under [compose]).\n",
        ),
    }
    let database = backup.database.as_ref().map_or(String::new(), |name| format!("{off}database = {}\n", quoted(name)));
    text.push_str(&format!(
        "{off}{head}\n{off}service = {}\n{off}uri_env = {}\n{database}{off}directory = \"~/backups\"\n",
        quoted(&backup.service),
        quoted(uri_env)
    ));
}

fn rest() -> Option<String> {
    Some(
        "# People are told in Slack where the variable SLACK_DEPLOY_WEBHOOK is set.\n\n\
         # Verified releases per service whose images stay, ready for a rollback.\n[prune]\nkeep = 3\n"
            .to_owned(),
    )
}
