//! Scalars and lists that people write in several ways and Compose reads as one: sizes, booleans, fractions, ranges of
//! ports, devices. What cannot be read, or only a server knows, stays as it was written.

use super::format;
use serde_json::{Map, Value, json};

/// Settings that are as if nobody had written them where they are false.
const OFF_BY_DEFAULT: [&str; 4] = ["privileged", "read_only", "stdin_open", "tty"];

/// The settings of a service that are in one piece; `None` for any other.
pub fn of_service(key: &str, value: &Value) -> Option<Value> {
    Some(match key {
        "mem_limit" | "memswap_limit" | "mem_reservation" | "shm_size" => size(value),
        "cpus" => number(value),
        "init" | "attach" | "privileged" | "read_only" | "stdin_open" | "tty" => boolean(value),
        "gpus" => gpus(value),
        "deploy" => deploy(value),
        "devices" => each(value, device),
        "networks" => networks(value),
        _ => return None,
    })
}

/// Leaves out what says nothing.
pub fn without_defaults(keys: &mut Map<String, Value>) {
    keys.retain(|key, value| match key.as_str() {
        "networks" => !is_default_network(value),
        key => !(OFF_BY_DEFAULT.contains(&key) && value == "false"),
    });
}

/// How one way to write a value becomes the other.
type Change = fn(&Value) -> Value;

fn each(value: &Value, change: Change) -> Value {
    match value {
        Value::Array(items) => items.iter().map(change).collect(),
        other => other.clone(),
    }
}

/// Changes the entries of an object that are there.
fn entries(value: &Value, changes: &[(&str, Change)]) -> Value {
    let mut value = value.clone();
    for (key, change) in changes {
        if let Some(entry) = value.get_mut(key) {
            *entry = change(entry);
        }
    }
    value
}

/// A size in bytes: `512m`, `0.5g` and `536870912` are one.
pub fn size(value: &Value) -> Value {
    let bytes = value.as_str().and_then(format::bytes);
    bytes.map_or_else(|| value.clone(), |bytes| format!("{bytes:.0}").into())
}

/// `yes`, `on` and `true` are one.
pub fn boolean(value: &Value) -> Value {
    let read = value.as_str().and_then(format::boolean);
    read.map_or_else(|| value.clone(), |is| is.to_string().into())
}

/// `0.50` and `.5` are one.
fn number(value: &Value) -> Value {
    let number = value.as_str().and_then(|text| text.parse::<f64>().ok()).filter(|number| number.is_finite());
    number.map_or_else(|| value.clone(), |number| number.to_string().into())
}

/// All of them is what is meant where no device is counted or named.
fn gpu(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(keys) = value.as_object_mut() {
        let is_all = keys.get("count").is_none_or(|count| count == "all");
        if is_all && !keys.contains_key("device_ids") {
            keys.insert("count".to_owned(), "-1".into());
        }
    }
    value
}

fn gpus(value: &Value) -> Value {
    if value == "all" { json!([{"count": "-1"}]) } else { each(value, gpu) }
}

fn deploy(value: &Value) -> Value {
    entries(value, &[("resources", resources)])
}

fn resources(value: &Value) -> Value {
    let limits: Change = |value| entries(value, &[("memory", size), ("cpus", number)]);
    let reservations: Change =
        |value| entries(value, &[("memory", size), ("cpus", number), ("devices", |devices| each(devices, gpu))]);
    entries(value, &[("limits", limits), ("reservations", reservations)])
}

/// `SOURCE[:TARGET[:PERMISSIONS]]`, and the long form.
fn device(value: &Value) -> Value {
    if let Some(source) = value.get("source").and_then(Value::as_str) {
        let said = |key: &str, default: &str| value.get(key).and_then(Value::as_str).unwrap_or(default).to_owned();
        return format!("{source}:{}:{}", said("target", source), said("permissions", "rwm")).into();
    }
    let Some(short) = value.as_str().filter(|short| short.starts_with('/')) else { return value.clone() };
    let mut parts = short.split(':');
    let source = parts.next().unwrap_or_default();
    let (target, rights) = (parts.next().unwrap_or(source), parts.next().unwrap_or("rwm"));
    format!("{source}:{target}:{rights}").into()
}

/// Networks by their names, each with nothing more to say, or a mapping of them.
fn networks(value: &Value) -> Value {
    let Value::Array(names) = value else { return value.clone() };
    let names: Option<Vec<&str>> = names.iter().map(Value::as_str).collect();
    names.map_or_else(|| value.clone(), |names| names.into_iter().map(|name| (name.to_owned(), Value::Null)).collect())
}

fn is_default_network(value: &Value) -> bool {
    value.as_object().is_some_and(|names| names.len() == 1 && names.get("default").is_some_and(Value::is_null))
}

/// The ports of a service, ranges as the ports in them: `8000-8001:80-81` is two. One container port that may be published
/// under any of several is one.
pub fn ports(value: Value) -> Value {
    let Value::Array(items) = value else { return value };
    let ports = items.into_iter().flat_map(|item| match item.as_str().and_then(range) {
        Some(ports) => ports.into_iter().map(Value::from).collect(),
        None => vec![item],
    });
    ports.collect()
}

/// So many ports of one range are read one by one.
const MAX_RANGE: u16 = 1_000;

fn range(short: &str) -> Option<Vec<String>> {
    let (rest, protocol) = short.split_once('/').map_or((short, ""), |(rest, protocol)| (rest, protocol));
    let ends = |text: &str| -> Option<(u16, u16)> {
        let (low, high) = text.split_once('-')?;
        let (low, high) = (low.parse().ok()?, high.parse().ok()?);
        (low <= high && high - low < MAX_RANGE).then_some((low, high))
    };
    let mut parts = rest.rsplitn(3, ':');
    let (low, high) = ends(parts.next()?)?;
    let outside = match parts.next() {
        None | Some("") => None,
        Some(text) => Some(ends(text).filter(|(from, to)| to - from == high - low)?.0),
    };
    let address = parts.next().map_or(String::new(), |address| format!("{address}:"));
    let protocol = if protocol.is_empty() { String::new() } else { format!("/{protocol}") };
    let port = |at: u16| match outside {
        Some(from) => format!("{address}{}:{}{protocol}", from + at, low + at),
        None if address.is_empty() => format!("{}{protocol}", low + at),
        None => format!("{address}:{}{protocol}", low + at),
    };
    Some((0..=high - low).map(port).collect())
}

#[cfg(test)]
mod tests {
    use super::super::canonical;
    use crate::variables::Variables;
    use serde_json::{Value, json};

    fn of(keys: &Value) -> Value {
        canonical::service(keys.clone(), &Variables::default())
    }

    /// Compose's own hash is the same for all of one row, by 2.26.1 and 2.40.3.
    #[test]
    fn what_compose_reads_as_one_is_one() {
        for row in [
            vec![json!({"mem_limit": "512m"}), json!({"mem_limit": "0.5g"}), json!({"mem_limit": "536870912"})],
            vec![json!({"mem_limit": "512MiB"}), json!({"mem_limit": "512 m"}), json!({"mem_limit": "524288K"})],
            vec![json!({"shm_size": "64m"}), json!({"shm_size": "67108864"}), json!({"shm_size": "64MB"})],
            vec![json!({"cpus": "0.5"}), json!({"cpus": "0.50"}), json!({"cpus": ".5"})],
            vec![json!({"init": "true"}), json!({"init": "yes"}), json!({"init": "on"}), json!({"init": "True"})],
            vec![json!({"privileged": "no"}), json!({"privileged": "false"}), json!({}), json!({"tty": "off"})],
            vec![json!({"gpus": "all"}), json!({"gpus": [{"count": "all"}]}), json!({"gpus": [{"count": "-1"}]})],
            vec![
                json!({"gpus": [{"capabilities": ["gpu"]}]}),
                json!({"gpus": [{"capabilities": ["gpu"], "count": "all"}]}),
            ],
            vec![json!({"ports": ["8000-8001:80-81"]}), json!({"ports": ["8000:80", "8001:81/tcp"]})],
            vec![
                json!({"ports": ["127.0.0.1:53-54:53-54/udp"]}),
                json!({"ports": ["127.0.0.1:53:53/udp", "127.0.0.1:54:54/udp"]}),
            ],
            vec![json!({"ports": ["80-81"]}), json!({"ports": ["80", "81"]})],
            vec![json!({"ports": ["8000-8001:80"]}), json!({"ports": [{"target": "80", "published": "8000-8001"}]})],
            vec![json!({"devices": ["/dev/null"]}), json!({"devices": ["/dev/null:/dev/null:rwm"]})],
            vec![json!({"networks": ["default"]}), json!({"networks": {"default": null}}), json!({})],
            vec![
                json!({"deploy": {"resources": {"limits": {"memory": "1g", "cpus": "0.5"}}}}),
                json!({"deploy": {"resources": {"limits": {"memory": "1024m", "cpus": "0.50"}}}}),
            ],
            vec![
                json!({"deploy": {"resources": {"reservations": {"devices": [{"capabilities": ["gpu"], "count": "all"}]}}}}),
                json!({"deploy": {"resources": {"reservations": {"devices": [{"capabilities": ["gpu"]}]}}}}),
            ],
            vec![
                json!({"volumes": [{"type": "tmpfs", "target": "/a", "tmpfs": {"size": "1m"}}]}),
                json!({"volumes": [{"type": "tmpfs", "target": "/a", "tmpfs": {"size": "1048576"}}]}),
            ],
            vec![json!({"healthcheck": {"disable": "yes"}}), json!({"healthcheck": {"disable": "true"}})],
        ] {
            for other in &row[1..] {
                assert_eq!(of(&row[0]), of(other), "{} and {other}", row[0]);
            }
        }
    }

    #[test]
    fn what_compose_takes_for_different_is_different() {
        for (one, other) in [
            (json!({"mem_limit": "512"}), json!({"mem_limit": "512m"})),
            (json!({"init": "false"}), json!({})),
            (json!({"gpus": "all"}), json!({"gpus": [{"capabilities": ["gpu"]}]})),
            (json!({"gpus": "all"}), json!({"gpus": [{"count": "1"}]})),
            (json!({"ports": ["8000-8001:80-81"]}), json!({"ports": ["8000:80"]})),
            (json!({"networks": {"default": {}}}), json!({})),
            (json!({"devices": ["/dev/null:/dev/null:r"]}), json!({"devices": ["/dev/null"]})),
            (json!({"mem_limit": "${SIZE}"}), json!({"mem_limit": "${OTHER}"})),
        ] {
            assert_ne!(of(&one), of(&other), "{one} and {other}");
        }
    }
}
