//! Sets of HTTP status codes, as `cm.toml` writes them.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Status codes: one (`200`), a list of them, or ranges (`"2xx"`, `"200-204"`); 200 without any.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Statuses(pub Vec<u16>);

impl Default for Statuses {
    fn default() -> Self {
        Statuses(vec![200])
    }
}

impl fmt::Display for Statuses {
    /// `200 or 300-399`: ranges as ranges.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for code in &self.0 {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == *code => *last = *code,
                _ => ranges.push((*code, *code)),
            }
        }
        let words = ranges.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") });
        f.write_str(&words.collect::<Vec<_>>().join(" or "))
    }
}

impl JsonSchema for Statuses {
    fn schema_name() -> Cow<'static, str> {
        "Statuses".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = serde_json::json!({"anyOf": [
            {"type": "integer", "minimum": 100, "maximum": 599},
            {"type": "string", "pattern": "^[1-5](xx|[0-9]{2}(-[1-5][0-9]{2})?)$"},
        ]});
        json_schema!({"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]})
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StatusVisitor).map(Statuses)
    }
}

#[derive(Clone, Copy)]
struct StatusVisitor;

/// One element of a list of status codes.
struct Element(Vec<u16>);

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StatusVisitor).map(Element)
    }
}

impl<'de> Visitor<'de> for StatusVisitor {
    type Value = Vec<u16>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a status code such as 200, a range such as \"2xx\" or \"200-204\", or a list of them")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Vec<u16>, E> {
        match u16::try_from(value) {
            Ok(code @ 100..=599) => Ok(vec![code]),
            _ => Err(E::custom(format!("{value} is not a status code between 100 and 599"))),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<u16>, E> {
        let code = |text: &str| text.parse::<u16>().ok().filter(|code| (100..=599).contains(code));
        let range = match text.strip_suffix("xx") {
            Some(hundreds) => code(&format!("{hundreds}00")).map(|first| (first, first + 99)),
            None => match text.split_once('-') {
                Some((first, last)) => code(first).zip(code(last)),
                None => code(text).map(|code| (code, code)),
            },
        };
        match range {
            Some((first, last)) if first <= last => Ok((first..=last).collect()),
            _ => Err(E::custom(format!("{text:?} is not a range of status codes such as \"2xx\" or \"200-204\""))),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u16>, A::Error> {
        let mut codes = Vec::new();
        while let Some(Element(more)) = seq.next_element()? {
            codes.extend(more);
        }
        if codes.is_empty() { Err(A::Error::custom("the list of status codes is empty")) } else { Ok(codes) }
    }
}
