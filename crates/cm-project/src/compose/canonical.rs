//! One spelling for what means the same, to compare two commits: `80:80` and the long form
//! of a port, `60s` and `1m`, a command as text and as a list. Recreating a container
//! because somebody wrote the same thing differently helps nobody.

use super::Build;
use super::merge::mount_target;
use super::spelling;
use crate::pattern::clean;
use crate::variables::Variables;
use serde_json::{Map, Value, json};

/// A service's configuration in one spelling.
pub fn service(mut configuration: Value, variables: &Variables) -> Value {
    let Value::Object(keys) = &mut configuration else { return configuration };
    for (key, value) in keys.iter_mut() {
        let plain = std::mem::take(value);
        *value = match key.as_str() {
            "environment" => environment(plain, variables),
            "ports" => each(spelling::ports(plain), port),
            "volumes" => each(plain, volume),
            "configs" | "secrets" => each(plain, resource),
            "env_file" => each(listed(plain), env_file),
            "dns" | "dns_search" | "tmpfs" | "label_file" => listed(plain),
            "command" | "entrypoint" => command(plain),
            "healthcheck" => healthcheck(plain),
            "post_start" | "pre_stop" => each(plain, hook),
            "extra_hosts" => sorted(each(plain, host)),
            "stop_grace_period" => duration(plain),
            key => spelling::of_service(key, &plain).unwrap_or(plain),
        };
    }
    count(keys);
    spelling::without_defaults(keys);
    configuration
}

/// How many containers there are is said in one place: nowhere, where it is one.
fn count(keys: &mut Map<String, Value>) {
    let deploy = keys.get_mut("deploy").and_then(Value::as_object_mut);
    let deployed = deploy.and_then(|deploy| {
        let deployed = deploy.remove("replicas");
        deploy.retain(|_, part| part.as_object().is_none_or(|part| !part.is_empty()));
        deployed
    });
    let scale = keys.remove("scale");
    let text = |count: Value| count.as_str().map_or_else(|| count.to_string(), str::to_owned);
    if let Some(count) = deployed.or(scale).filter(|count| !count.is_null()).map(text).filter(|count| count != "1") {
        keys.insert("scale".to_owned(), count.into());
    }
}

/// The configuration of a build with its paths in one spelling: `app`, `./app` and
/// `app/` are the same directory, and `Dockerfile` is what is read if nothing is said.
pub fn build(build: &Build) -> Value {
    let mut configuration = build.configuration.clone();
    if let Value::Object(keys) = &mut configuration {
        keys.insert("context".to_owned(), Value::String(format!("{:?}", build.context)));
        if let Some(file) = keys.remove("dockerfile").as_ref().and_then(Value::as_str).map(clean)
            && file != "Dockerfile"
        {
            keys.insert("dockerfile".to_owned(), Value::String(file));
        }
        let contexts = build.contexts.iter().map(|(name, context)| (name.clone(), format!("{context:?}").into()));
        keys.insert("additional_contexts".to_owned(), Value::Object(contexts.collect()));
        if keys.contains_key("args") {
            let args = build.args.iter().map(|(name, value)| (name.clone(), json!(value)));
            let known: Map<String, Value> = args.collect();
            let written = keys.remove("args").unwrap_or_default();
            // Where only a server knows a value, what was written is compared.
            keys.insert("args".to_owned(), json!([known, written]));
        }
        if let Some(hosts) = keys.remove("extra_hosts") {
            keys.insert("extra_hosts".to_owned(), sorted(each(hosts, host)));
        }
    }
    configuration
}

/// One text is a list of one.
fn listed(value: Value) -> Value {
    if value.is_string() { Value::Array(vec![value]) } else { value }
}

fn each(value: Value, change: fn(Value) -> Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(change).collect()),
        other => other,
    }
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Array(mut items) => {
            items.sort_by_key(ToString::to_string);
            Value::Array(items)
        }
        other => other,
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// A variable without a value takes that of the environment.
fn environment(value: Value, variables: &Variables) -> Value {
    let Value::Object(pairs) = value else { return value };
    let known = |name: &str, value: Value| match (value, variables.get(name)) {
        (Value::Null, Some(text)) => Value::String(text.to_owned()),
        (value, _) => value,
    };
    Value::Object(pairs.into_iter().map(|(name, value)| (name.clone(), known(&name, value))).collect())
}

/// `[ADDRESS:][PUBLISHED:]TARGET[/PROTOCOL]` and the long form.
fn port(value: Value) -> Value {
    match &value {
        Value::String(short) => {
            let (rest, protocol) = short.split_once('/').unwrap_or((short, "tcp"));
            let mut parts = rest.rsplitn(3, ':');
            let target = parts.next().unwrap_or_default();
            let (published, address) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            if target.contains('-') {
                return value;
            }
            json!({"target": target, "published": published, "protocol": protocol, "host_ip": address, "mode": "ingress"})
        }
        Value::Object(_) => {
            let said = |key: &str, default: &str| text(&value, key).unwrap_or(default).to_owned();
            let mut long = json!({
                "target": said("target", ""),
                "published": said("published", ""),
                "protocol": said("protocol", "tcp"),
                "host_ip": said("host_ip", ""),
                "mode": said("mode", "ingress"),
            });
            for key in ["name", "app_protocol"] {
                if let Some(more) = text(&value, key) {
                    long[key] = more.into();
                }
            }
            long
        }
        _ => value,
    }
}

/// `[SOURCE:]TARGET[:OPTIONS]` and the long form.
fn volume(value: Value) -> Value {
    let Value::String(short) = &value else { return long_volume(value) };
    let parts: Vec<&str> = super::context::split(short, ':');
    let (source, options) = match parts.as_slice() {
        [_] => ("", ""),
        [source, _] => (*source, ""),
        [source, _, options] => (*source, *options),
        _ => return value,
    };
    let target = mount_target(short);
    let is_path = source.starts_with(['.', '/', '~', '$']);
    let mut long = json!({"type": if is_path { "bind" } else { "volume" }, "source": source, "target": target});
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => long["read_only"] = "true".into(),
            "rw" => {}
            "z" | "Z" => long["selinux"] = option.into(),
            "nocopy" => long["nocopy"] = "true".into(),
            other => long[format!("option {other}")] = true.into(),
        }
    }
    long_volume(long)
}

fn long_volume(value: Value) -> Value {
    let Value::Object(mut keys) = value else { return value };
    let is_bind = keys.get("type").and_then(Value::as_str) == Some("bind");
    if let Some(size) = keys.get_mut("tmpfs").and_then(|tmpfs| tmpfs.get_mut("size")) {
        *size = spelling::size(size);
    }
    if let Some(read_only) = keys.get_mut("read_only") {
        *read_only = spelling::boolean(read_only);
    }
    if let Some(Value::Object(bind)) = keys.remove("bind") {
        keys.extend(bind.into_iter().filter(|(key, _)| key != "create_host_path" || !is_bind));
    }
    if let Some(Value::Object(volume)) = keys.remove("volume") {
        keys.extend(volume);
    }
    for key in ["source", "target"] {
        if let Some(path) = keys.get(key).and_then(Value::as_str).filter(|path| path.contains('/') || *path == ".") {
            let path = clean(path);
            keys.insert(key.to_owned(), path.into());
        }
    }
    keys.retain(|key, value| !(value.is_null() || key == "read_only" && value == "false" || value == ""));
    Value::Object(keys)
}

/// A config or secret by its name alone.
fn resource(value: Value) -> Value {
    match value {
        Value::String(name) => json!({"source": name}),
        other => other,
    }
}

fn env_file(value: Value) -> Value {
    let path = text(&value, "path").or_else(|| value.as_str()).map(clean);
    let required = value.get("required").map_or_else(|| "true".into(), spelling::boolean);
    json!({"path": path, "required": required, "format": text(&value, "format")})
}

/// `NAME=ADDRESS`, or `NAME:ADDRESS`.
fn host(value: Value) -> Value {
    let Some(short) = value.as_str() else { return value };
    let (name, address) = short.split_once('=').or_else(|| short.split_once(':')).unwrap_or((short, ""));
    format!("{name}={}", address.trim_start_matches('[').trim_end_matches(']')).into()
}

/// A command as text is its words, as long as they are plain.
fn command(value: Value) -> Value {
    let Some(text) = value.as_str() else { return value };
    match words(text) {
        Some(words) => words.into(),
        None => value,
    }
}

/// A command that runs in the container when it starts or stops.
fn hook(value: Value) -> Value {
    let Value::Object(mut keys) = value else { return value };
    for (key, value) in keys.iter_mut() {
        let plain = std::mem::take(value);
        *value = match key.as_str() {
            "command" => command(plain),
            "privileged" => spelling::boolean(&plain),
            "environment" => pairs(plain),
            _ => plain,
        };
    }
    Value::Object(keys)
}

/// `NAME=VALUE` in a list is a mapping.
fn pairs(value: Value) -> Value {
    let Value::Array(items) = value else { return value };
    let pair = |item: &Value| {
        let text = item.as_str()?;
        let (name, value) = text.split_once('=').map_or((text, Value::Null), |(name, value)| (name, value.into()));
        Some((name.to_owned(), value))
    };
    items.iter().map(pair).collect::<Option<Map<_, _>>>().map_or(Value::Array(items), Value::Object)
}

/// The words of a command; `None` where a shell's signs are in it.
fn words(text: &str) -> Option<Vec<String>> {
    if text.contains([';', '&', '|', '<', '>', '(', ')', '`', '\\', '$']) {
        return None;
    }
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in text.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

fn healthcheck(value: Value) -> Value {
    let Value::Object(mut keys) = value else { return value };
    for (key, value) in keys.iter_mut() {
        let plain = std::mem::take(value);
        *value = match key.as_str() {
            "interval" | "timeout" | "start_period" | "start_interval" => duration(plain),
            "test" if plain.is_string() => json!(["CMD-SHELL", plain]),
            "disable" => spelling::boolean(&plain),
            _ => plain,
        };
    }
    Value::Object(keys)
}

/// A length of time in nanoseconds, where it is one.
fn duration(value: Value) -> Value {
    let nanoseconds = value.as_str().and_then(nanoseconds);
    nanoseconds.map_or(value, |count| count.to_string().into())
}

/// `1h2m3.5s`, as Go writes it.
pub fn nanoseconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total = 0_f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let after = &rest[end..];
        let unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        total += number
            * match &after[..unit] {
                "ns" => 1.0,
                "us" | "µs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return None,
            };
        rest = &after[unit..];
    }
    // Nobody means a time that does not fit; what it rounds to only has to be the same twice.
    (total < 9e18).then_some(total as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(key: &str, a: Value, b: Value) {
        let of = |value: &Value| service(json!({ key: value }), &Variables::default());
        assert_eq!(of(&a), of(&b), "{key}: {a} and {b}");
    }

    fn other(key: &str, a: Value, b: Value) {
        let of = |value: &Value| service(json!({ key: value }), &Variables::default());
        assert_ne!(of(&a), of(&b), "{key}: {a} and {b}");
    }

    #[test]
    fn spelling_without_meaning_is_the_same() {
        let long = json!([{"target": "80", "published": "8080", "protocol": "tcp", "mode": "ingress"}]);
        same("ports", json!(["8080:80"]), long.clone());
        same(
            "ports",
            json!(["127.0.0.1:8080:80/udp"]),
            json!([{"target": "80", "published": "8080", "host_ip": "127.0.0.1", "protocol": "udp"}]),
        );
        let bind = json!([{"type": "bind", "source": "./a/", "target": "/a", "read_only": "true", "bind": {"create_host_path": "true"}}]);
        same("volumes", json!(["./a:/a:ro"]), bind);
        same(
            "volumes",
            json!(["data:/d"]),
            json!([{"type": "volume", "source": "data", "target": "/d", "volume": {}}]),
        );
        same("command", json!("a  'b c' \"\""), json!(["a", "b c", ""]));
        for hook in ["pre_stop", "post_start"] {
            let text = json!([{"command": "nginx -s 'quit now'", "privileged": "yes", "environment": ["A=1", "B"]}]);
            let list = json!([{"command": ["nginx", "-s", "quit now"], "privileged": "true", "environment": {"A": "1", "B": null}}]);
            same(hook, text.clone(), list);
            other(hook, text, json!([{"command": "nginx -s quit"}]));
            other(hook, json!([{"command": "a b"}]), json!([{"command": ["a b"]}]));
        }
        same(
            "healthcheck",
            json!({"test": "true", "interval": "60s"}),
            json!({"test": ["CMD-SHELL", "true"], "interval": "1m"}),
        );
        same("stop_grace_period", json!("1m30s"), json!("90s"));
        same("extra_hosts", json!(["a=1.1.1.1", "b:2.2.2.2"]), json!(["b=2.2.2.2", "a=1.1.1.1"]));
        same("env_file", json!(["./a.env"]), json!([{"path": "a.env", "required": "true"}]));
        same("env_file", json!("a.env"), json!(["./a.env"]));
        same("env_file", json!([{"path": "a.env", "required": "no"}]), json!([{"path": "a.env", "required": "false"}]));
        same("dns", json!("1.1.1.1"), json!(["1.1.1.1"]));
        other("deploy", json!({"replicas": "2"}), json!({"replicas": "3"}));
        let count = |value: Value| service(value, &Variables::default());
        assert_eq!(count(json!({"scale": "1"})), count(json!({})));
        assert_eq!(count(json!({"deploy": {"replicas": "1", "resources": {}}})), count(json!({"deploy": {}})));
        same("configs", json!(["c"]), json!([{"source": "c"}]));
        other("ports", json!(["8080:80"]), json!(["80:80"]));
        other("ports", json!(["127.0.0.1:80:80"]), json!(["80:80"]));
        other("volumes", json!(["./a:/a:ro"]), json!(["./a:/a"]));
        other("command", json!("a && b"), json!(["a"]));
        other("healthcheck", json!({"interval": "60s"}), json!({"interval": "61s"}));
    }

    #[test]
    fn lengths_of_time_are_read_as_compose_reads_them() {
        for (text, wanted) in [
            ("90s", Some(90_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            ("500ms", Some(500_000_000)),
            ("5", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nanoseconds(text), wanted, "{text}");
        }
    }
}
