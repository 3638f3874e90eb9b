//! JSON from a server, read with a budget: a few megabytes of numbers become gigabytes of values. What
//! has too many is refused before the first of them is kept.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::cell::Cell;
use std::fmt;

/// So many values may be in one answer. A container that `docker inspect` shows has some 300.
pub const MAX_VALUES: usize = 500_000;

/// The value in `bytes`.
///
/// # Errors
/// What is no JSON, or has more than [`MAX_VALUES`] values.
pub fn parse(bytes: &[u8]) -> serde_json::Result<Value> {
    let left = Cell::new(MAX_VALUES);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    Counted(&left).deserialize(&mut reader)?;
    serde_json::from_slice(bytes)
}

/// Walks a value, keeps nothing, fails when there are too many.
#[derive(Clone, Copy)]
struct Counted<'a>(&'a Cell<usize>);

impl<'de> DeserializeSeed<'de> for Counted<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let left = self.0.get().checked_sub(1);
        self.0.set(left.ok_or_else(|| D::Error::custom(format!("more than {MAX_VALUES} values")))?);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Counted<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // A number of arbitrary precision comes as a map, too.
        while map.next_key::<IgnoredAny>()?.is_some() {
            map.next_value_seed(self)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_with_too_many_values_is_refused() {
        let text = r#"[{"a": 1.5, "b": [true, null, "x"], "c": {"d": 123456789012345678901}}]"#;
        assert_eq!(parse(text.as_bytes()).expect("fits"), serde_json::from_str::<Value>(text).expect("json"));
        for bomb in [format!("[{}1]", "1,".repeat(MAX_VALUES)), format!("[{}{{}}]", "{\"a\":[]},".repeat(MAX_VALUES))] {
            let error = parse(bomb.as_bytes()).expect_err("too many");
            assert!(error.to_string().contains("more than 500000 values"), "{error}");
        }
        for broken in ["", "{", "{} {}"] {
            assert!(parse(broken.as_bytes()).is_err(), "{broken}");
        }
    }
}
