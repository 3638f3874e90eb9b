//! What BuildKit refuses in one instruction, whatever the rest of the file says: flags
//! that it does not know, too few words, lists of something else than strings.

use super::lines::{Error, Line, error};
use super::{Dockerfile, reference, run_mount, words};
use crate::nearest;
use crate::pattern::UNKNOWN;
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

/// Instructions whose words BuildKit expands itself; the others' are a shell's.
const EXPANDED: [&str; 9] = ["ADD", "ARG", "COPY", "ENV", "EXPOSE", "LABEL", "USER", "VOLUME", "WORKDIR"];

/// Flags that may come several times.
const REPEATED: [&str; 3] = ["device", "exclude", "mount"];

/// The frontend, as `N` of `1.N`, from which a flag is known to others than those called labs.
const SINCE: [(&str, u32); 6] =
    [("checksum", 6), ("exclude", 19), ("link", 4), ("parents", 20), ("security", 20), ("unpack", 17)];

/// Refuses flags that the frontend `1.MINOR`, which the file asks for, does not have yet.
pub fn frontend(line: &Line, minor: u32) -> Result<(), Error> {
    let names = || line.flags.iter().map(|flag| flag.split('=').next().unwrap_or_default());
    match SINCE.iter().find(|(name, since)| minor < *since && names().any(|flag| flag == *name)) {
        Some((name, since)) => error(
            line.number,
            format!(
                "--{name} takes docker/dockerfile:1.{since} or later, and the file asks for 1.{minor} in its # syntax="
            ),
        ),
        None => Ok(()),
    }
}

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
        "CMD" | "ENTRYPOINT" | "RUN" => strings(line)?,
        "ADD" | "COPY" | "VOLUME" => {
            strings(line)?;
            patterns(line, &words, escape)?;
            addresses(line, &words)?;
        }
        "EXPOSE" => {
            if let Some(word) = words.iter().find(|word| !word.contains('$') && !is_port(word)) {
                return wrong(format!("{word:?} is not a port"));
            }
        }
        "SHELL" => match serde_json::from_str::<Vec<String>>(&line.rest) {
            Ok(words) if !words.is_empty() => {}
            _ => return wrong("SHELL takes a list such as [\"/bin/sh\", \"-c\"]".to_owned()),
        },
        "HEALTHCHECK" => healthcheck(line, &words)?,
        "STOPSIGNAL" if !is_signal(&line.rest) => return wrong(format!("{:?} is not a signal", line.rest)),
        _ => {}
    }
    if EXPANDED.contains(&keyword) && !line.rest.starts_with('[') {
        for word in &words {
            if let Some(mistake) = words::mistake(word, escape) {
                return wrong(format!("{mistake} in {word:?}"));
            }
        }
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
            run_mount::check(line, flag)?;
        }
    }
    Ok(())
}

/// Why BuildKit refuses a word of `keyword` whose variables have been replaced.
pub fn refused_word(keyword: &str, word: &str) -> Option<String> {
    match keyword {
        "EXPOSE" => {
            let port = word.split_whitespace().find(|port| !is_port(port))?;
            Some(format!("EXPOSE comes to {port:?}, which is not a port"))
        }
        "STOPSIGNAL" if word.is_empty() => {
            Some("STOPSIGNAL comes to nothing: a variable in it has no value".to_owned())
        }
        "STOPSIGNAL" if !is_signal(word) => Some(format!("STOPSIGNAL comes to {word:?}, which is not a signal")),
        "VOLUME" if word.is_empty() => Some("VOLUME comes to nothing: a variable in it has no value".to_owned()),
        _ => None,
    }
}

/// The signals that have a name, without `SIG`.
const SIGNALS: &str = " ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT RTMAX RTMIN SEGV \
    STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ ";

/// Whether a container can be stopped with it: a number, a name, `RTMIN+3`.
fn is_signal(text: &str) -> bool {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let real = ["RTMIN+", "RTMAX-"].iter().filter_map(|begin| name.strip_prefix(begin)?.parse::<u8>().ok());
    text.is_empty()
        || text.contains('$')
        || text.parse::<i64>().is_ok_and(|number| number != 0)
        || real.into_iter().any(|number| (1..=15).contains(&number))
        || (!name.contains(' ') && SIGNALS.contains(&format!(" {name} ")))
}

fn flags(line: &Line) -> Result<(), Error> {
    // The flags of this one nobody reads.
    if line.keyword == "STOPSIGNAL" {
        return Ok(());
    }
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
        values(line, name, value.unwrap_or_default())?;
    }
    Ok(())
}

/// The values of flags that have few.
fn values(line: &Line, name: &str, value: &str) -> Result<(), Error> {
    match name {
        "from" if value.trim_end_matches('$').contains('$') => {
            error(line.number, "--from takes no variable: name a stage for it")
        }
        "from" if value.parse::<i64>().is_ok_and(|number| number < 0) => {
            error(line.number, format!("there is no stage {value}"))
        }

        "network" if !["default", "host", "none"].contains(&value) => {
            error(line.number, format!("--network knows no {value:?}: default, host, none"))
        }
        "security" if !["insecure", "sandbox"].contains(&value) => {
            error(line.number, format!("--security knows no {value:?}: insecure, sandbox"))
        }
        _ if value.contains('$') => Ok(()),
        "checksum" if !reference::is_digest(value) => error(line.number, format!("{value:?} is not a checksum")),
        "platform" if !reference::is_platform(value) => error(line.number, format!("{value:?} is not a platform")),
        _ => Ok(()),
    }
}

/// Whether it is fetched from somewhere.
fn is_address(word: &str) -> bool {
    ["http://", "https://", "git://", "ssh://", "git@"].iter().any(|begin| word.starts_with(begin))
}

/// COPY fetches nothing, and only what is fetched has a checksum.
fn addresses(line: &Line, words: &[String]) -> Result<(), Error> {
    let list = serde_json::from_str::<Vec<String>>(&line.rest);
    let words = list.as_deref().unwrap_or(words);
    let sources = words.split_last().map_or(&[][..], |(_, sources)| sources);
    if line.keyword == "COPY"
        && let Some(address) = sources.iter().find(|source| is_address(source))
    {
        return error(line.number, format!("COPY takes no address such as {address:?}: ADD does"));
    }
    if !line.flags.iter().any(|flag| flag.starts_with("checksum=")) {
        return Ok(());
    }
    match sources {
        [source] if is_address(source) || source.contains('$') || source.contains("://") => Ok(()),
        [source] if source.ends_with(".git") || source.starts_with("github.com/") => Ok(()),
        [source] => error(line.number, format!("{source:?} has no --checksum: only what is fetched has one")),
        _ => error(line.number, "--checksum is of one source"),
    }
}

/// The first `--from`, of a COPY or a mount, that is neither a stage nor an image: its line, and why it is refused.
pub fn odd_source(lines: &[Line], file: &Dockerfile) -> Option<(usize, String)> {
    let is_wrong = |name: &&str| {
        !name.is_empty() && !name.contains('$') && file.stage(name).is_none() && !reference::is_image(name)
    };
    lines.iter().filter(|line| ["COPY", "RUN"].contains(&line.keyword.as_str())).find_map(|line| {
        let mounts = line.flags.iter().filter_map(|flag| flag.strip_prefix("mount="));
        let mounted = mounts.flat_map(|mount| mount.split(',').filter_map(|field| field.strip_prefix("from=")));
        let mut all = line.flags.iter().filter_map(|flag| flag.strip_prefix("from=")).chain(mounted);
        let name = all.find(is_wrong)?;
        Some((line.number, format!("{name:?} is neither a stage nor the name of an image")))
    })
}

/// The arguments that BuildKit has by itself.
const BUILT_IN: [&str; 4] = ["BUILD", "TARGET", "http", "HTTP"];

/// The image of a `FROM`, as far as it is known: any argument may have another value than its default.
pub fn from(line: &Line, file: &Dockerfile, base: &str) -> Result<(), Error> {
    let value = |name: &str| {
        let declared = file.args.iter().any(|(known, _)| known == name);
        let built_in = BUILT_IN.iter().any(|begin| name.starts_with(begin)) || name.to_lowercase().ends_with("_proxy");
        if declared || built_in { words::Value::Unknown } else { words::Value::Unset }
    };
    if words::mistake(base, file.escape).is_some() {
        return error(line.number, format!("{base:?} is not the name of an image"));
    }
    let platform = line.flags.iter().find_map(|flag| flag.strip_prefix("platform="));
    if platform.is_some_and(|text| text.contains('$') && words::expand(text, file.escape, &value).is_empty()) {
        return error(line.number, "the variable in --platform has no value; ARG before the first FROM declares it");
    }
    let name = words::expand(base, file.escape, &value);
    if name.is_empty() {
        return error(
            line.number,
            "FROM names no image: a variable in it has no value; ARG before the first FROM declares it",
        );
    }
    if !name.contains(UNKNOWN) && file.stage(&name).is_none() && !reference::is_image(&name) {
        return error(line.number, format!("{name:?} is not the name of an image"));
    }
    Ok(())
}

/// What is copied, and what is a volume.
fn patterns(line: &Line, words: &[String], escape: char) -> Result<(), Error> {
    if line.keyword == "VOLUME" {
        let is_empty = |word: &String| !word.contains('$') && words::expand_kept(word, escape).is_empty();
        return if words.iter().any(is_empty) { error(line.number, "VOLUME names nothing") } else { Ok(()) };
    }
    let is_list = serde_json::from_str::<Vec<Value>>(&line.rest).is_ok();
    let sources = words.split_last().map_or(&[][..], |(_, sources)| sources);
    let open = |word: &&String| {
        word.rfind('[').is_some_and(|at| !word[at..].contains(']') && !word.contains(['$', '\\', '<']))
    };
    match sources.iter().find(open).filter(|_| !is_list) {
        Some(word) => error(line.number, format!("a bracket in {word:?} has no end")),
        None => Ok(()),
    }
}

/// `[ADDRESS:][PUBLISHED:]PORT[-PORT][/PROTOCOL]`.
fn is_port(text: &str) -> bool {
    let text = text.trim_matches(['"', '\'']);
    let (ports, protocol) = text.split_once('/').unwrap_or((text, ""));
    let own = ports.rsplit(':').next().unwrap_or_default();
    let (low, high) = own.split_once('-').unwrap_or((own, own));
    let range = low.parse::<u16>().ok().zip(high.parse::<u16>().ok());
    let known = ["", "tcp", "udp", "sctp"].contains(&protocol.to_ascii_lowercase().as_str());
    known && range.is_some_and(|(low, high)| low <= high)
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
pub fn strings(line: &Line) -> Result<(), Error> {
    let text = match line.keyword.as_str() {
        "HEALTHCHECK" => line.rest.split_once(char::is_whitespace).map_or("", |(_, rest)| rest.trim_start()),
        _ => line.rest.as_str(),
    };
    if !text.starts_with('[') {
        return Ok(());
    }
    match serde_json::from_str::<Vec<Value>>(text) {
        Ok(items) if !items.iter().all(Value::is_string) => {
            error(line.number, format!("the list of {} holds something else than strings", line.keyword))
        }
        Ok(items) if items.is_empty() && ["VOLUME", "RUN", "HEALTHCHECK"].contains(&line.keyword.as_str()) => {
            error(line.number, format!("the list of {} is empty", line.keyword))
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
        "CMD" => times(line).and_then(|()| strings(line)),
        _ => error(line.number, format!("HEALTHCHECK knows CMD and NONE, not {first:?}")),
    }
}

fn times(line: &Line) -> Result<(), Error> {
    for (name, value) in line.flags.iter().filter_map(|flag| flag.split_once('=')) {
        let fits = match name {
            _ if value.is_empty() => true,
            "retries" => value.parse::<i32>().is_ok_and(|number| number >= 0),
            _ => crate::compose::nanoseconds(value).is_some_and(|time| time == 0 || time >= 1_000_000) || value == "0",
        };
        if !fits {
            return error(line.number, format!("{value:?} is not a value of --{name}"));
        }
    }
    Ok(())
}
