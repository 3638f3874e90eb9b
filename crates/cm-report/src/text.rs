//! Text that came from outside: names, messages, log lines. It reaches the page only as
//! this type, whose one way out escapes it.

use maud::{Escaper, Render};
use serde_json::Value;
use std::fmt::Write;

/// Text of a document. What a browser would obey or hide is made visible: terminal
/// sequences and marks that turn the direction of writing.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Text(String);

impl Text {
    /// `text` as it can be shown.
    pub fn new(text: &str) -> Self {
        let visible = |c: char| match c {
            '\n' | '\t' => c,
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            c if c.is_control() => '\u{fffd}',
            c => c,
        };
        Text(text.chars().map(visible).collect())
    }

    /// The text of a string or a number; empty for everything else.
    pub fn of(value: &Value) -> Self {
        match value {
            Value::String(text) => Text::new(text),
            Value::Number(number) => Text(number.to_string()),
            _ => Text::default(),
        }
    }

    /// The texts of a list.
    pub fn list(value: &Value) -> Vec<Self> {
        value.as_array().into_iter().flatten().map(Text::of).collect()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For comparing with words that programs write.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A commit or an image as git and docker shorten it.
    pub fn short(&self) -> Text {
        Text(self.0.strip_prefix("sha256:").unwrap_or(&self.0).chars().take(12).collect())
    }
}

impl Render for Text {
    fn render_to(&self, page: &mut String) {
        let _infallible = Escaper::new(page).write_str(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_it_is_markup_and_nothing_hides() {
        let text = Text::new("<script>alert(1)</script> \"&' \u{1b}[31mred\u{202e}drow\n");
        assert_eq!(
            text.render().into_string(),
            "&lt;script&gt;alert(1)&lt;/script&gt; &quot;&amp;' \u{fffd}[31mred\u{fffd}drow\n"
        );
    }
}
