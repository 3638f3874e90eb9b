//! Reference lists off a JSON Schema: the keys of `cm.toml`, the fields of the document.

use crate::roff::{bold, entry, escape, paragraphs};
use serde_json::Value;
use std::fmt::Write;

/// The tables of `cm.toml`, each with its keys.
pub fn configuration(schema: &Value) -> String {
    let root = Reference { schema };
    let (tables, keys): (Vec<_>, Vec<_>) = root.fields(schema).partition(|(_, field)| root.table(field).is_some());
    let mut text = String::from(".SS \"Before the first table\"\n");
    text.extend(keys.iter().map(|(name, field)| root.key(name, field, false)));
    for (name, field) in tables {
        root.write_table(name, field, &mut text);
    }
    text
}

/// The fields of an object and of those in it.
pub fn document(schema: &Value) -> String {
    Reference { schema }.fields_below(schema, "", 0)
}

struct Reference<'a> {
    schema: &'a Value,
}

impl<'a> Reference<'a> {
    fn fields(&self, of: &'a Value) -> impl Iterator<Item = (&'a String, &'a Value)> {
        of["properties"].as_object().into_iter().flatten()
    }

    /// What `field` refers to; itself if it refers to nothing. Null besides it is left out, and of
    /// several tables the first counts.
    fn resolved(&self, field: &'a Value) -> &'a Value {
        if let Some(reference) = field["$ref"].as_str() {
            return self.schema.pointer(reference.trim_start_matches('#')).map_or(field, |one| self.resolved(one));
        }
        let any = field["anyOf"].as_array().into_iter().flatten();
        let mut others = any.filter(|one| one["type"] != "null");
        match (others.next(), others.next()) {
            (Some(only), None) => self.resolved(only),
            (Some(first), Some(_)) if self.resolved(first).get("properties").is_some() => self.resolved(first),
            _ => field,
        }
    }

    /// The object in a field that is a table, or a map or list of tables.
    fn table(&self, field: &'a Value) -> Option<(&'a Value, Kind)> {
        let field = self.resolved(field);
        let below = |key: &str| Some(self.resolved(field.get(key)?)).filter(|one| one.get("properties").is_some());
        match () {
            () if field.get("properties").is_some() => Some((field, Kind::One)),
            () if below("additionalProperties").is_some() => Some((below("additionalProperties")?, Kind::Named)),
            () if below("items").is_some() => Some((below("items")?, Kind::List)),
            // One table or a list of them, such as `[[backup]]`.
            () if field["anyOf"].is_array() => {
                let lists = field["anyOf"].as_array().into_iter().flatten();
                let mut tables = lists.filter_map(|one| Some(self.resolved(one.get("items")?)));
                Some((tables.find(|one| one.get("properties").is_some())?, Kind::List))
            }
            // A map of lists or strings, such as `[groups]`.
            () if field["additionalProperties"].is_object() => Some((field, Kind::One)),
            () => None,
        }
    }

    fn write_table(&self, path: &str, field: &'a Value, text: &mut String) {
        let Some((table, kind)) = self.table(field) else { return };
        let heading = match kind {
            Kind::One => format!("[{path}]"),
            Kind::Named => format!("[{path}.NAME]"),
            Kind::List => format!("[[{path}]]"),
        };
        writeln!(text, ".SS {}", escape(&heading)).ok();
        text.push_str(&paragraphs(&description(field)));
        let required: Vec<&str> =
            table["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if table.get("properties").is_none() {
            text.push_str(&entry(&bold("NAME"), &format!("{}.", self.words(&table["additionalProperties"]))));
        }
        let mut below = Vec::new();
        for (name, field) in self.fields(table) {
            // A list of tables has a heading of its own.
            match self.table(field) {
                Some((_, Kind::List | Kind::Named)) => below.push((format!("{path}.{name}"), field)),
                _ => text.push_str(&self.key(name, field, required.contains(&name.as_str()))),
            }
        }
        for (path, field) in below {
            self.write_table(&path, field, text);
        }
    }

    fn key(&self, name: &str, field: &'a Value, required: bool) -> String {
        let mut remarks = vec![self.words(field)];
        if required {
            remarks.push("required".to_owned());
        }
        if let Some(default) = field.get("default") {
            remarks.push(format!("default `{default}`"));
        }
        let text = format!("{} ({})", description(field), remarks.join(", "));
        entry(&bold(name), &text)
    }

    /// The type of a field, for people.
    fn words(&self, field: &'a Value) -> String {
        let field = self.resolved(field);
        if let Some(choices) = field["oneOf"].as_array() {
            let words = choices.iter().filter_map(|one| one["const"].as_str()).map(|word| format!("`{word}`"));
            return words.collect::<Vec<_>>().join(", ");
        }
        if let Some(choices) = field["enum"].as_array() {
            let words = choices.iter().filter_map(Value::as_str).map(|word| format!("`{word}`"));
            return words.collect::<Vec<_>>().join(", ");
        }
        if let Some(any) = field["anyOf"].as_array() {
            let words = any.iter().filter(|one| one["type"] != "null").map(|one| self.words(one));
            return words.collect::<Vec<_>>().join(" or ");
        }
        let name = match &field["type"] {
            Value::Array(types) => types.iter().filter_map(Value::as_str).find(|name| *name != "null"),
            name => name.as_str(),
        };
        match name {
            Some("string") if field["pattern"].as_str().is_some_and(|pattern| pattern.contains("ms|s")) => {
                "time".to_owned()
            }
            Some("integer" | "number") => "number".to_owned(),
            Some("boolean") => "true or false".to_owned(),
            Some("array") => format!("list, each a {}", self.words(&field["items"])),
            Some("object") => "table".to_owned(),
            Some(name) => name.to_owned(),
            None => "any value".to_owned(),
        }
    }

    /// `a.b[].c` and what it is, for every field at most three floors down.
    fn fields_below(&self, of: &'a Value, path: &str, floor: u32) -> String {
        let mut text = String::new();
        for (name, field) in self.fields(of) {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            text.push_str(&entry(&bold(&path), &format!("{} ({})", description(field), self.words(field))));
            if let Some((below, kind)) =
                self.table(field).filter(|(below, _)| floor < 3 && below.get("properties").is_some())
            {
                let path = match kind {
                    Kind::One => path,
                    Kind::Named => format!("{path}.NAME"),
                    Kind::List => format!("{path}[]"),
                };
                text.push_str(&self.fields_below(below, &path, floor + 1));
            }
        }
        text
    }
}

#[derive(Clone, Copy)]
enum Kind {
    One,
    Named,
    List,
}

fn description(field: &Value) -> String {
    field["description"].as_str().unwrap_or_default().to_owned()
}
