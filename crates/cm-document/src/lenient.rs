//! Reads what another version of a program may have written: what is not known is passed over, and
//! what is ours and cannot be read is told from it. For the fields of the types that a document is
//! made of.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// Left out, null, or a value; one that this version does not know is as good as left out.
pub fn nullable<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Null => Some(None),
        value => T::deserialize(value).ok().map(Some),
    })
}

/// A value that is the usual one where this version does not know it.
pub fn known_or_default<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(T::deserialize(Value::deserialize(deserializer)?).unwrap_or_default())
}

/// The fields that a type names; none of one that is no object.
type Fields = Option<Rc<[String]>>;

thread_local! {
    /// By the name of the type: a document may have thousands of maps of it, and to make a schema takes long.
    static FIELDS: RefCell<HashMap<&'static str, Fields>> = RefCell::default();
}

fn fields<T: JsonSchema>() -> Fields {
    let make = || {
        let schema = schemars::schema_for!(T);
        schema.get("properties").and_then(Value::as_object).map(|fields| fields.keys().cloned().collect())
    };
    FIELDS.with_borrow_mut(|known| known.entry(std::any::type_name::<T>()).or_insert_with(make).clone())
}

/// Whether an entry is somebody else's: it has none of the fields that `T` names, or is no `T` where
/// that names none.
fn foreign<T: DeserializeOwned + JsonSchema>() -> impl Fn(&Value) -> bool {
    let fields = fields::<T>();
    move |value| match (&fields, value) {
        (None, value) => T::deserialize(value).is_err(),
        (Some(fields), Value::Object(value)) => !fields.iter().any(|field| value.contains_key(field)),
        (Some(_), _) => true,
    }
}

/// A map whose keys are free: an entry of another shape is somebody else's, and one that is ours
/// and cannot be read makes the whole part one that cannot be.
pub fn known<'de, D: Deserializer<'de>, T: DeserializeOwned + JsonSchema>(
    deserializer: D,
) -> Result<Option<BTreeMap<String, T>>, D::Error> {
    let Some(map) = Option::<Map<String, Value>>::deserialize(deserializer)? else { return Ok(None) };
    let foreign = foreign::<T>();
    let ours = map.into_iter().filter(|(_, value)| !foreign(value));
    let read = |(key, value)| T::deserialize(value).map(|value| (key, value)).map_err(Error::custom);
    ours.map(read).collect::<Result<_, _>>().map(Some)
}

/// The same, where others do without it: a map that cannot be read is as good as left out.
pub fn known_if_readable<'de, D: Deserializer<'de>, T: DeserializeOwned + JsonSchema>(
    deserializer: D,
) -> Result<Option<BTreeMap<String, T>>, D::Error> {
    Ok(known(Value::deserialize(deserializer)?).unwrap_or_default())
}

/// The same of a list.
pub fn known_list<'de, D: Deserializer<'de>, T: DeserializeOwned + JsonSchema>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    let Some(list) = Option::<Vec<Value>>::deserialize(deserializer)? else { return Ok(None) };
    let foreign = foreign::<T>();
    let ours = list.into_iter().filter(|value| !foreign(value));
    ours.map(|value| T::deserialize(value).map_err(Error::custom)).collect::<Result<_, _>>().map(Some)
}

/// A value that reads as nothing where this version does not know it.
pub fn known_word<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(T::deserialize(Value::deserialize(deserializer)?).ok())
}
