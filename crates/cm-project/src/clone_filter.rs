//! What a clone may leave out. A type of its own, because it is an option of a command on servers.

use schemars::JsonSchema;
use serde::Deserialize;

/// `blob:none`, or `blob:limit=` and a size.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(try_from = "String")]
pub struct CloneFilter(#[schemars(regex(pattern = r"^blob:(none|limit=[0-9]+[kmg]?)$"))] String);

impl CloneFilter {
    /// As git's `--filter` takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CloneFilter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_size = |size: &str| {
            let digits = size.strip_suffix(['k', 'm', 'g']).unwrap_or(size);
            !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit())
        };
        match text == "blob:none" || text.strip_prefix("blob:limit=").is_some_and(is_size) {
            true => Ok(CloneFilter(text)),
            false => Err(format!("{text:?} is not a valid filter: \"blob:none\", or \"blob:limit=1m\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CloneFilter;

    #[test]
    fn only_filters_that_git_and_cm_understand_are_taken() {
        for (text, valid) in [
            ("blob:none", true),
            ("blob:limit=500k", true),
            ("blob:limit=1", true),
            ("blob:limit=", false),
            ("blob:limit=1k --upload-pack=id", false),
            ("tree:0", false),
            ("", false),
        ] {
            assert_eq!(CloneFilter::try_from(text.to_owned()).is_ok(), valid, "{text}");
        }
    }
}
