//! What BuildKit refuses in one instruction, whatever the rest of the file says: flags
//! that it does not know, too few words, lists of something else than strings.

use super::lines::{Error, Line, error};
use super::words;
use crate::nearest;
use serde_json::Value;

/// The flags of an instruction; those that end in `?` are yes or no.
fn flags_of(keyword: &str) -> &'static [&'static str] {
    match keyword {
        "FROM" => &["platform"],
        "COPY" => &["chmod", "chown", "exclude", "from", "link?", "parents?"],
        "ADD" => &["checksum", "chmod", "chown", "exclude", "keep-git-dir?", "link?", "unpack?"],
        "RUN" => &["device", "mount", "network", "security"],
        "HEALTHCHECK" => &["interval", "retries", "start-interval", "start-period", "timeout"],
        _ => &[],
    }
}

/// Flags that may come several times.
const REPEATED: [&str; 3] = ["device", "exclude", "mount"];

/// Refuses what BuildKit refuses in `line`.
pub fn check(line: &Line, escape: char) -> Result<(), Error> {
    flags(line)?;
    let words = words::split(&line.rest, escape);
    let wrong = |message: String| error(line.number, message);
    let keyword = line.keyword.as_str();
    match keyword {
        "ENV" | "LABEL" => assignments(line, &words)?,
        "ARG" if words.iter().any(|word| word.starts_with('=')) => {
            return wrong("ARG names cannot be blank".to_owned());
        }
        "CMD" | "ENTRYPOINT" | "RUN" | "ADD" | "COPY" | "VOLUME" => strings(line)?,
        "SHELL" => match serde_json::from_str::<Vec<String>>(&line.rest) {
            Ok(words) if !words.is_empty() => {}
            _ => return wrong("SHELL takes a list such as [\"/bin/sh\", \"-c\"]".to_owned()),
        },
        "HEALTHCHECK" => healthcheck(line, &words)?,
        _ => {}
    }
    let wants_some = [
        "ARG",
        "ENV",
        "LABEL",
        "EXPOSE",
        "VOLUME",
        "WORKDIR",
        "USER",
        "STOPSIGNAL",
        "MAINTAINER",
        "ONBUILD",
        "HEALTHCHECK",
    ];
    if wants_some.contains(&keyword) && words.is_empty() {
        return wrong(format!("{keyword} takes at least one argument"));
    }
    if keyword == "RUN" {
        for flag in line.flags.iter().filter_map(|flag| flag.strip_prefix("mount=")) {
            mount(line, flag)?;
        }
    }
    Ok(())
}

fn flags(line: &Line) -> Result<(), Error> {
    let known = flags_of(&line.keyword);
    let mut seen: Vec<&str> = Vec::new();
    for flag in &line.flags {
        let (name, value) = flag.split_once('=').map_or((flag.as_str(), None), |(name, value)| (name, Some(value)));
        let Some(form) = known.iter().find(|known| known.trim_end_matches('?') == name) else {
            let names = known.iter().map(|known| known.trim_end_matches('?'));
            let hint = nearest::nearest(name, names).map(|name| format!("; did you mean --{name}?"));
            return error(line.number, format!("{} has no flag --{name}{}", line.keyword, hint.unwrap_or_default()));
        };
        if seen.contains(&name) && !REPEATED.contains(&name) {
            return error(line.number, format!("the flag --{name} is there twice"));
        }
        seen.push(name);
        let fits = match (form.ends_with('?'), value) {
            (true, None) => true,
            (true, Some(value)) => value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"),
            (false, value) => value.is_some(),
        };
        if !fits {
            return error(line.number, format!("the flag --{name} wants another value"));
        }
    }
    Ok(())
}

/// `name=value …`, or the old form `name value`.
fn assignments(line: &Line, words: &[String]) -> Result<(), Error> {
    let Some(first) = words.first() else { return Ok(()) };
    if !first.contains('=') {
        let has_value = line.rest.split_once(char::is_whitespace).is_some();
        return if has_value {
            Ok(())
        } else {
            error(line.number, format!("{} takes a name and a value", line.keyword))
        };
    }
    match words.iter().find(|word| !word.contains('=') || word.starts_with('=')) {
        Some(word) => error(line.number, format!("{word:?} is not of the form name=value")),
        None => Ok(()),
    }
}

/// A list in JSON holds strings alone. What is no JSON is a shell's.
fn strings(line: &Line) -> Result<(), Error> {
    if !line.rest.starts_with('[') {
        return Ok(());
    }
    match serde_json::from_str::<Vec<Value>>(&line.rest) {
        Ok(items) if !items.iter().all(Value::is_string) => {
            error(line.number, format!("the list of {} holds something else than strings", line.keyword))
        }
        Ok(items) if line.keyword == "VOLUME" && items.iter().any(|item| item == "") => {
            error(line.number, "VOLUME names nothing")
        }
        _ => Ok(()),
    }
}

fn healthcheck(line: &Line, words: &[String]) -> Result<(), Error> {
    let Some(first) = words.first() else { return Ok(()) };
    match first.to_ascii_uppercase().as_str() {
        "NONE" if words.len() > 1 => error(line.number, "HEALTHCHECK NONE takes no arguments"),
        "NONE" => Ok(()),
        "CMD" if words.len() < 2 => error(line.number, "HEALTHCHECK CMD takes a command"),
        "CMD" => times(line),
        _ => error(line.number, format!("HEALTHCHECK knows CMD and NONE, not {first:?}")),
    }
}

fn times(line: &Line) -> Result<(), Error> {
    for (name, value) in line.flags.iter().filter_map(|flag| flag.split_once('=')) {
        let fits = match name {
            "retries" => value.parse::<u32>().is_ok(),
            _ => crate::compose::nanoseconds(value).is_some() || value == "0",
        };
        if !fits {
            return error(line.number, format!("{value:?} is not a value of --{name}"));
        }
    }
    Ok(())
}

const MOUNT_KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
];

/// The fields of `--mount`.
fn mount(line: &Line, value: &str) -> Result<(), Error> {
    for field in value.trim_matches('"').split(',').filter(|field| !field.is_empty()) {
        let (key, value) = field.split_once('=').map_or((field, None), |(key, value)| (key, Some(value)));
        let key = key.to_ascii_lowercase();
        if !MOUNT_KEYS.contains(&key.as_str()) {
            let hint = nearest::nearest(&key, MOUNT_KEYS).map(|name| format!("; did you mean {name}?"));
            return error(line.number, format!("--mount has no field {key:?}{}", hint.unwrap_or_default()));
        }
        let bare = matches!(key.as_str(), "readonly" | "ro" | "readwrite" | "rw" | "required");
        let Some(value) = value else {
            if bare {
                continue;
            }
            return error(line.number, format!("the field {key} of --mount wants a value"));
        };
        let known: &[&str] = match key.as_str() {
            "type" => &["bind", "cache", "secret", "ssh", "tmpfs"],
            "sharing" => &["locked", "private", "shared"],
            _ => continue,
        };
        if !value.contains('$') && !known.contains(&value.to_ascii_lowercase().as_str()) {
            return error(line.number, format!("--mount knows no {key} {value:?}: {}", known.join(", ")));
        }
    }
    Ok(())
}
