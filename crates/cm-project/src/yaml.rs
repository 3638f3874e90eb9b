//! YAML as Compose reads it: a tree of nodes that remember their tag (`!reset`,
//! `!override`) and where they stand, so that every error can point at its line.
//! Anchors, aliases and merge keys are resolved by the parser; its budget bounds
//! what a few lines of aliases can expand to.

use crate::source::{self, Position};
use crate::template;
use crate::timestamp::{TIMESTAMP, is_date};
use crate::variables::Variables;
use cm_core::Result;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::{Spanned, Tagged};
use std::fmt;
use std::sync::Arc;

/// One node.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it holds.
    pub value: Yaml,
    /// An application's tag, such as `!reset`.
    pub tag: Option<String>,
    /// Where it stands.
    pub at: Position,
    /// The variables in it whose values only a server knows.
    pub unknown: Vec<String>,
    /// The text as it was written, if it has references to variables.
    pub template: Option<Arc<str>>,
}

/// A text with references to variables, before they were replaced.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template {
    /// Where it stands.
    pub at: Position,
    /// The text.
    pub text: Arc<str>,
}

/// What a node holds. Numbers and booleans are kept as their text.
#[derive(Clone, Debug, PartialEq)]
pub enum Yaml {
    /// Nothing, `~` or `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number, as text.
    Number(String),
    /// A string.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in its order.
    Map(Vec<(String, Node)>),
}

impl PartialEq for Node {
    /// Two nodes are equal if they say the same, wherever they stand.
    fn eq(&self, other: &Self) -> bool {
        self.to_json() == other.to_json()
    }
}

impl Node {
    /// A node that a program made, which stands where `like` stands.
    pub fn new(value: Yaml, like: &Node) -> Self {
        Node { value, tag: None, at: like.at.clone(), unknown: like.unknown.clone(), template: like.template.clone() }
    }

    /// A mapping without a word, as of an empty file.
    pub fn empty(at: Position) -> Self {
        Node { value: Yaml::Map(Vec::new()), tag: None, at, unknown: Vec::new(), template: None }
    }

    /// The value of `key`, if this is a mapping that has it and it is not null.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.pairs().iter().find(|(known, _)| known == key).map(|(_, node)| node).filter(|node| !node.is_null())
    }

    /// Takes `key` out of a mapping.
    pub fn take(&mut self, key: &str) -> Option<Node> {
        match &mut self.value {
            Yaml::Map(pairs) => pairs.iter().position(|(known, _)| known == key).map(|i| pairs.remove(i).1),
            _ => None,
        }
    }

    /// Sets `key` of a mapping.
    pub fn set(&mut self, key: &str, node: Node) {
        if let Yaml::Map(pairs) = &mut self.value {
            match pairs.iter_mut().find(|(known, _)| known == key) {
                Some((_, value)) => *value = node,
                None => pairs.push((key.to_owned(), node)),
            }
        }
    }

    /// The entries of a mapping; none for anything else.
    pub fn pairs(&self) -> &[(String, Node)] {
        match &self.value {
            Yaml::Map(pairs) => pairs,
            _ => &[],
        }
    }

    /// The items of a sequence; none for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Yaml::List(items) => items,
            _ => &[],
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        self.value == Yaml::Null
    }

    /// The scalar as text; `None` for null, sequences and mappings.
    pub fn text(&self) -> Option<String> {
        match &self.value {
            Yaml::Text(text) | Yaml::Number(text) => Some(text.clone()),
            Yaml::Bool(value) => Some(value.to_string()),
            Yaml::Null | Yaml::List(_) | Yaml::Map(_) => None,
        }
    }

    /// What it is, for messages.
    pub fn what(&self) -> &'static str {
        match self.value {
            Yaml::Null => "nothing",
            Yaml::Bool(_) => "a boolean",
            Yaml::Number(_) => "a number",
            Yaml::Text(_) => "a string",
            Yaml::List(_) => "a list",
            Yaml::Map(_) => "a mapping",
        }
    }

    /// The same as JSON, to compare. Scalars become strings: `"80"` and `80` are
    /// the same port.
    pub fn to_json(&self) -> Value {
        match &self.value {
            Yaml::Null => Value::Null,
            Yaml::Bool(value) => Value::String(value.to_string()),
            Yaml::Number(text) | Yaml::Text(text) => Value::String(text.clone()),
            Yaml::List(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Yaml::Map(pairs) => Value::Object(pairs.iter().map(|(key, node)| (key.clone(), node.to_json())).collect()),
        }
    }

    /// Replaces `${VARIABLE}` in every string by its value. All of them come to `room` bytes at most.
    ///
    /// # Errors
    /// The node with a reference that cannot be read.
    pub fn interpolate(
        &mut self,
        variables: &Variables,
        room: &mut usize,
    ) -> Result<(), (Position, template::BadReference)> {
        match &mut self.value {
            Yaml::Text(text) if text.contains('$') => {
                let expanded = variables.expand(text).map_err(|bad| (self.at.clone(), bad))?;
                *room = room.checked_sub(expanded.text.len()).ok_or_else(|| (self.at.clone(), template::NO_ROOM))?;
                // A lone dollar refers to nothing.
                let refers = template::wanted(text, &|_| false).is_ok_and(|names| !names.is_empty());
                self.template = (refers || text.contains("${")).then(|| text.as_str().into());
                *text = expanded.text;
                self.unknown = expanded.missing;
                Ok(())
            }
            Yaml::List(items) => items.iter_mut().try_for_each(|item| item.interpolate(variables, room)),
            Yaml::Map(pairs) => pairs.iter_mut().try_for_each(|(_, node)| node.interpolate(variables, room)),
            _ => Ok(()),
        }
    }

    /// Whether a server's values decide what it says.
    pub fn is_open(&self) -> bool {
        !self.unknown.is_empty()
    }

    /// Every text below this node that has references to variables.
    pub fn templates(&self) -> Vec<Template> {
        let own = self.template.iter().map(|text| Template { at: self.at.clone(), text: Arc::clone(text) });
        let below = self.items().iter().chain(self.pairs().iter().map(|(_, node)| node));
        own.chain(below.flat_map(Node::templates)).collect()
    }

    /// Gives their tag to dates without quotes. The parser has no word for them.
    fn tag_dates(&mut self, lines: &[&str]) {
        match &mut self.value {
            Yaml::Text(text) if self.tag.is_none() && is_date(text) => {
                let line = lines.get(self.at.line.wrapping_sub(1)).copied().unwrap_or_default();
                let start = line.char_indices().nth(self.at.column.saturating_sub(1)).map_or(line.len(), |(at, _)| at);
                let (before, after) = line.split_at(start);
                let above = lines.get(self.at.line.wrapping_sub(2)).copied().unwrap_or_default();
                let above = above.trim_end().trim_end_matches(|c: char| c.is_ascii_digit() || "+-".contains(c));
                let is_block = before.trim().is_empty() && above.ends_with(['|', '>']);
                let is_text = is_block || before.trim_end().ends_with("!!str");
                self.tag = (!is_text && after.starts_with(|c: char| c.is_ascii_digit())).then(|| TIMESTAMP.to_owned());
            }
            Yaml::List(items) => items.iter_mut().for_each(|item| item.tag_dates(lines)),
            Yaml::Map(pairs) => pairs.iter_mut().for_each(|(_, node)| node.tag_dates(lines)),
            _ => {}
        }
    }

    fn name_file(&mut self, file: &Arc<str>) {
        self.at.file = Arc::clone(file);
        match &mut self.value {
            Yaml::List(items) => items.iter_mut().for_each(|item| item.name_file(file)),
            Yaml::Map(pairs) => pairs.iter_mut().for_each(|(_, node)| node.name_file(file)),
            _ => {}
        }
    }
}

/// How many nodes the aliases of one file may repeat. Hundreds of services with the same anchors need some
/// ten thousand; a bomb multiplies with every level.
const MAX_REPEATED: usize = 300_000;

fn options() -> serde_saphyr::Options {
    let mut options = serde_saphyr::Options::default();
    // Compose reads YAML 1.2 booleans: `on` and `yes` are strings.
    options.strict_booleans = true;
    // And integers as Go does: `0444` is octal, too.
    options.legacy_octal_numbers = true;
    options.non_finite_float_policy = serde_saphyr::NonFiniteFloatPolicy::PassThrough;
    options.alias_limits.max_total_replayed_events = MAX_REPEATED;
    if let Some(budget) = &mut options.budget {
        // Many aliases of one anchor are how people write compose files; what they come to is bounded above.
        budget.enforce_alias_anchor_ratio = false;
    }
    options
}

/// Parses the documents of a YAML file; there may be none.
///
/// # Errors
/// [`cm_core::Exit::Config`] with file, line, column and a caret.
pub fn parse(file: &Arc<str>, text: &str) -> Result<Vec<Node>> {
    let mut nodes: Vec<Node> = serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| {
        let place = error.location();
        let at = Position {
            file: Arc::clone(file),
            line: place.map_or(1, |at| usize::try_from(at.line()).unwrap_or(1)).max(1),
            column: place.map_or(1, |at| usize::try_from(at.column()).unwrap_or(1)).max(1),
        };
        source::failure("compose.syntax", &at, text, plain_message(&error))
    })?;
    let lines: Vec<&str> = text.lines().collect();
    nodes.iter_mut().for_each(|node| {
        node.name_file(file);
        node.tag_dates(&lines);
    });
    Ok(nodes)
}

/// The parser's message without its own picture of the place.
fn plain_message(error: &serde_saphyr::Error) -> String {
    let options = serde_saphyr::render_options! { snippets: serde_saphyr::SnippetMode::Off };
    let text = error.render_with_options(options);
    let line = text.lines().next().unwrap_or_default();
    // The place stands before it, and nobody can set an option of the parser.
    let line = line.rsplit_once(" at line ").map_or(line, |(message, _)| message);
    line.split_once(", set ").map_or(line, |(message, _)| message).to_owned()
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let Tagged(Spanned { value, referenced, .. }, tag) = Tagged::<Spanned<Content>>::deserialize(deserializer)?;
        Ok(Node {
            value: value.0,
            tag: tag.filter(|tag| tag.starts_with('!')),
            at: Position {
                file: Arc::from(""),
                line: usize::try_from(referenced.line()).unwrap_or(0),
                column: usize::try_from(referenced.column()).unwrap_or(0),
            },
            unknown: Vec::new(),
            template: None,
        })
    }
}

/// A node's value alone, on its way out of the parser.
struct Content(Yaml);

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(Walk).map(Content)
    }
}

/// A key of a mapping, which Compose wants to be text: a number, a boolean or nothing has to be quoted.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        match deserializer.deserialize_any(Walk)? {
            Yaml::Text(text) => Ok(Key(text)),
            Yaml::Number(text) => Err(D::Error::custom(format!("the key {text} is a number: Compose wants it quoted"))),
            Yaml::Bool(value) => {
                Err(D::Error::custom(format!("the key {value} is a boolean: Compose wants it quoted")))
            }
            _ => Err(D::Error::custom("a key is not text")),
        }
    }
}

struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = Yaml;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Yaml, E> {
        Ok(Yaml::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Yaml, E> {
        Ok(Yaml::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Yaml, E> {
        Ok(Yaml::Number(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Yaml, E> {
        Ok(Yaml::Number(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Yaml, E> {
        Ok(Yaml::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Yaml, E> {
        // `.inf` is what Go calls `+Inf`; in quotes it is text.
        let text = match value {
            f64::INFINITY => "+Inf".to_owned(),
            f64::NEG_INFINITY => "-Inf".to_owned(),
            value => value.to_string(),
        };
        Ok(Yaml::Number(text))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Yaml, E> {
        Ok(Yaml::Text(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_none<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Yaml, D::Error> {
        Content::deserialize(deserializer).map(|content| content.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Yaml, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Yaml::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Yaml, A::Error> {
        let mut pairs = Vec::new();
        while let Some((Key(key), node)) = map.next_entry()? {
            pairs.push((key, node));
        }
        Ok(Yaml::Map(pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Node {
        parse(&"compose.yml".into(), text).expect("valid").swap_remove(0)
    }

    #[test]
    fn tags_and_places_are_kept() {
        let node = parsed("services:\n  web:\n    ports: !reset []\n    env: !override\n      A: 1\n");
        let web = node.get("services").and_then(|node| node.get("web")).expect("web");
        let ports = web.get("ports").expect("ports");
        assert_eq!(ports.tag.as_deref(), Some("!reset"));
        assert_eq!((ports.at.line, ports.at.file.as_ref()), (3, "compose.yml"));
        assert_eq!(web.get("env").and_then(|env| env.tag.clone()).as_deref(), Some("!override"));
    }

    #[test]
    fn anchors_and_merge_keys_are_resolved() {
        let node = parsed("x: &base {a: 1, b: 2}\ny:\n  <<: *base\n  b: 3\nz: [*base, on, 0o17, 1.5, ~]\n");
        assert_eq!(node.get("y").expect("y").to_json(), serde_json::json!({"a": "1", "b": "3"}));
        assert_eq!(node.get("z").expect("z").to_json()[1], "on");
    }

    #[test]
    fn numbers_are_those_that_compose_reads() {
        for (written, read) in [
            ("010", "8"),
            ("0o10", "8"),
            ("0777", "511"),
            ("-010", "-8"),
            ("09", "9"),
            ("0", "0"),
            ("0x10", "16"),
            ("0b11", "3"),
            ("1_000", "1000"),
            ("'010'", "010"),
            ("1.0", "1"),
            ("00", "0"),
        ] {
            assert_eq!(
                parsed(&format!("a: {written}\n")).get("a").and_then(Node::text).as_deref(),
                Some(read),
                "{written}"
            );
        }
    }

    #[test]
    fn an_error_points_at_its_line() {
        let failure = parse(&"compose.yml".into(), "a:\n  b: [1, 2\nc: 3\n").expect_err("unclosed");
        assert_eq!(failure.code, "compose.syntax");
        assert!(failure.message.starts_with("compose.yml:3:"), "{}", failure.message);
        assert!(failure.message.contains('^'), "{}", failure.message);
        let twice = parse(&Arc::from("compose.yml"), "a: {x: 1, x: 2}\n").expect_err("twice").message;
        assert_eq!(twice.lines().next(), Some("compose.yml:1:11: duplicate mapping key: x"));
        let failure = parse(&"compose.yml".into(), "a: 1\nb: 2\na: 3\n").expect_err("duplicate");
        assert!(failure.message.starts_with("compose.yml:3:1: "), "{}", failure.message);
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..12 {
            text.push_str(&format!("a{i}: &a{i} [{}]\n", format!("*a{}, ", i - 1).repeat(10)));
        }
        assert_eq!(parse(&"bomb.yml".into(), &text).expect_err("bounded").code, "compose.syntax");
    }
}
