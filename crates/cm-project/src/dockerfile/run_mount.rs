//! What BuildKit refuses in `RUN --mount=…`: fields, their values, and which of them a type of mount has. A variable in a
//! value is known only while the image is built; whatever depends on it is left to BuildKit.

use super::lines::{Error, Line, error};
use crate::nearest;

const KEYS: [&str; 19] = [
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

/// The fields of one mount, by the name that all their spellings share.
struct Fields<'a> {
    line: &'a Line,
    pairs: Vec<(&'static str, &'a str)>,
}

/// Refuses what BuildKit refuses in the value of one `--mount`.
pub fn check(line: &Line, value: &str) -> Result<(), Error> {
    let mut fields = Fields { line, pairs: Vec::new() };
    for field in value.split(',') {
        let (key, value) = field.split_once('=').map_or((field, None), |(key, value)| (key, Some(value)));
        let lower = key.to_ascii_lowercase();
        let Some(known) = KEYS.into_iter().find(|known| *known == lower) else {
            let hint = nearest::nearest(&lower, KEYS).map(|name| format!("; did you mean {name}?"));
            return error(line.number, format!("--mount has no field {key:?}{}", hint.unwrap_or_default()));
        };
        let is_flag = matches!(known, "readonly" | "ro" | "readwrite" | "rw" | "required");
        let Some(value) = value.or(is_flag.then_some("true")) else {
            return error(line.number, format!("the field {key} of --mount wants a value"));
        };
        // The last one of several counts.
        fields.pairs.retain(|(other, _)| *other != canonical(known));
        fields.pairs.push((canonical(known), value));
    }
    fields.values()?;
    fields.of_type()
}

fn canonical(key: &'static str) -> &'static str {
    match key {
        "src" => "source",
        "dst" | "destination" => "target",
        "ro" => "readonly",
        "rw" => "readwrite",
        key => key,
    }
}

impl Fields<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| *known == key).map(|(_, value)| *value)
    }

    fn refuse<T>(&self, message: String) -> Result<T, Error> {
        error(self.line.number, message)
    }

    /// Each value by itself.
    fn values(&self) -> Result<(), Error> {
        for (key, value) in &self.pairs {
            if *key == "from" && value.trim_end_matches('$').contains('$') {
                return self.refuse("from of --mount takes no variable: name a stage for it".to_owned());
            }
            let known: &[&str] = match *key {
                "type" => &["bind", "cache", "secret", "ssh", "tmpfs"],
                "sharing" => &["locked", "private", "shared"],
                _ => &[],
            };
            let fits = match *key {
                _ if value.contains('$') => true,
                "type" | "sharing" => known.contains(&value.to_ascii_lowercase().as_str()),
                "readonly" | "readwrite" | "required" => is_boolean(value),
                "mode" => u32::from_str_radix(value, 8).is_ok() && !value.starts_with('+'),
                "uid" | "gid" => value.parse::<u32>().is_ok() && !value.starts_with('+'),
                "size" => crate::compose::is_size(value),
                _ => true,
            };
            if !fits {
                let known = if known.is_empty() { String::new() } else { format!(": {}", known.join(", ")) };
                return self.refuse(format!("--mount knows no {key} {value:?}{known}"));
            }
        }
        Ok(())
    }

    /// What a type of mount has to have, and what only others have.
    fn of_type(&self) -> Result<(), Error> {
        let kind = self.get("type").unwrap_or("bind").to_ascii_lowercase();
        if kind.contains('$') {
            return Ok(());
        }
        let belongs = |key: &str| match key {
            "size" => kind == "tmpfs",
            "required" => matches!(kind.as_str(), "secret" | "ssh"),
            "mode" | "uid" | "gid" => matches!(kind.as_str(), "secret" | "ssh" | "cache"),
            "sharing" => kind == "cache",
            "from" => kind != "secret",
            _ => true,
        };
        if let Some((key, _)) = self.pairs.iter().find(|(key, value)| !value.is_empty() && !belongs(key)) {
            return self.refuse(format!("a mount of type {kind} has no {key}"));
        }
        let is_empty = |key: &&str| self.get(key).is_none_or(str::is_empty);
        if kind == "secret" {
            if ["source", "target", "id"].iter().all(is_empty) {
                return self.refuse("a mount of type secret wants an id".to_owned());
            }
            if !is_empty(&"source") && !is_empty(&"id") {
                return self.refuse("a mount of type secret has an id or a source, not both".to_owned());
            }
        }
        let target = self.get("target").unwrap_or_default();
        let is_free = kind == "cache" && target.is_empty();
        if matches!(kind.as_str(), "bind" | "cache" | "tmpfs") && target.trim_matches('/').is_empty() && !is_free {
            return self.refuse(format!("a mount of type {kind} wants a target, and not the root"));
        }
        Ok(())
    }
}

/// As Go reads one.
fn is_boolean(text: &str) -> bool {
    ["1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False"].contains(&text)
}

#[cfg(test)]
mod tests {
    use super::super::Dockerfile;

    fn refused(mount: &str) -> Option<String> {
        let text = format!("FROM x\nRUN --mount={mount} y\n");
        Dockerfile::parse("Dockerfile", &text).err().map(|failure| failure.message)
    }

    #[test]
    fn a_mount_has_what_its_type_has() {
        for (mount, wanted) in [
            ("type=bind", "a mount of type bind wants a target"),
            ("target=/", "a mount of type bind wants a target"),
            ("type=cache,target=/x,sharing=all", "--mount knows no sharing \"all\": locked, private, shared"),
            ("type=cache,target=/x,mode=9", "--mount knows no mode \"9\""),
            ("type=cache,target=/x,gid=-1", "--mount knows no gid \"-1\""),
            ("type=cache,target=/x,size=5", "a mount of type cache has no size"),
            ("target=/x,required", "a mount of type bind has no required"),
            ("target=/x,mode=0777", "a mount of type bind has no mode"),
            ("target=/x,sharing=locked", "a mount of type bind has no sharing"),
            ("target=/x,ro=maybe", "--mount knows no readonly \"maybe\""),
            ("target=/x,from=$STAGE", "from of --mount takes no variable"),
            ("type=secret", "a mount of type secret wants an id"),
            ("type=secret,id=a,source=b", "a mount of type secret has an id or a source, not both"),
            ("type=tmpfs,target=/x,size=much", "--mount knows no size \"much\""),
            ("type=tmpfs,target=/x,id", "the field id of --mount wants a value"),
            ("=x", "--mount has no field \"\""),
        ] {
            let found = refused(mount).unwrap_or_default();
            assert!(found.starts_with(&format!("Dockerfile:2:1: {wanted}")), "{mount}: {found}");
        }
    }

    #[test]
    fn what_buildkit_takes_is_taken() {
        for mount in [
            "target=/x",
            "type=cache,dst=/x,id=,sharing=LOCKED,uid=5,mode=0755,ro",
            "type=tmpfs,target=/x,size=1g",
            "type=secret,id=x,env=A,required=true",
            "type=ssh,required,mode=0600",
            "TYPE=bind,TARGET=/x,rw=false,from=",
            "type=$KIND,size=$SIZE",
            "type=bind,target=$X,source=a",
            "type=cache",
            "'type=bind,target=/x'",
            "\"type=bind,target=/x\"",
        ] {
            assert_eq!(refused(mount), None, "{mount}");
        }
    }
}
