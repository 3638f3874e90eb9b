//! Strict JSON: exactly one value, no duplicate keys. `serde_json` refuses empty,
//! cut and doubled input by itself but lets a duplicate key win silently, and a
//! document that says two things at once must not be acted on.

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::collections::HashSet;
use std::fmt;

/// Parses exactly one JSON value and refuses duplicate keys at any depth.
/// Numbers keep their digits, whatever their size.
pub fn parse_strict(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice::<NoDuplicates>(bytes)?;
    serde_json::from_slice(bytes)
}

/// Walks a value, keeps nothing, fails at a repeated key.
struct NoDuplicates;

impl<'de> Deserialize<'de> for NoDuplicates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Walk)
    }
}

struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = NoDuplicates;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<NoDuplicates, E> {
        Ok(NoDuplicates)
    }

    fn visit_i64<E>(self, _: i64) -> Result<NoDuplicates, E> {
        Ok(NoDuplicates)
    }

    fn visit_u64<E>(self, _: u64) -> Result<NoDuplicates, E> {
        Ok(NoDuplicates)
    }

    fn visit_f64<E>(self, _: f64) -> Result<NoDuplicates, E> {
        Ok(NoDuplicates)
    }

    fn visit_str<E>(self, _: &str) -> Result<NoDuplicates, E> {
        Ok(NoDuplicates)
    }

    fn visit_unit<E>(self) -> Result<NoDuplicates, E> {
        Ok(NoDuplicates)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<NoDuplicates, A::Error> {
        while seq.next_element::<NoDuplicates>()?.is_some() {}
        Ok(NoDuplicates)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NoDuplicates, A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            // serde_json hands a number of arbitrary precision over as a map with
            // one private key, whose value is no JSON value of ours.
            if key == "$serde_json::private::Number" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            map.next_value::<NoDuplicates>()?;
            if let Some(key) = seen.replace(key) {
                return Err(A::Error::custom(format!("duplicate key {key:?}")));
            }
        }
        Ok(NoDuplicates)
    }
}

#[cfg(test)]
mod tests {
    use super::parse_strict;

    #[test]
    fn duplicate_keys_are_refused_at_any_depth() {
        for text in [r#"{"a":1,"a":2}"#, r#"[{"x":{"b":1,"b":1}}]"#] {
            let error = parse_strict(text.as_bytes()).expect_err(text);
            assert!(error.to_string().contains("duplicate key"), "{error}");
        }
    }

    #[test]
    fn cut_empty_and_doubled_input_is_refused() {
        for text in ["", "{", "{}{}", "{} x", "nul"] {
            assert!(parse_strict(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn values_come_out_as_they_went_in() {
        let text = r#"{"z":123456789012345678901234567890,"a":1.50,"e":1e400,"n":null,"s":"\u00e9"}"#;
        let value = parse_strict(text.as_bytes()).expect("valid");
        let out = value.to_string();
        assert_eq!(out, r#"{"z":123456789012345678901234567890,"a":1.50,"e":1e+400,"n":null,"s":"é"}"#);
    }
}
