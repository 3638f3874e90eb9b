//! What the scripts say of a checkout, as values: how it is before a move, and how its
//! protected files were.

use cm_core::facts::Protected;

/// What the checkout is like before it is moved.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct State {
    /// Its absolute path, as one comes there and without symbolic links.
    pub places: Vec<String>,
    /// The commit HEAD names; empty where none was ever checked out.
    pub head: String,
    /// Files changed by hand or not under version control, whose content the move would destroy.
    pub endangered: Vec<String>,
    /// Those of them that are not under version control: in the way of a file to come.
    pub untracked: Vec<String>,
    /// Files whose mode alone was changed by hand; the move gives them the commit's.
    pub modes: Vec<String>,
    /// What cannot be written, and why, in the words of the system there.
    pub blocked: Vec<(String, String)>,
    /// Protected files whose directory becomes something else, and that directory.
    pub displaced: Vec<(String, String)>,
    /// Protected files that differ between HEAD and the new commit; the host keeps its own.
    pub upstream: Vec<String>,
    /// How many paths the move changes.
    pub changes: usize,
}

impl State {
    pub(crate) fn read(text: &str) -> State {
        let mut state = State::default();
        let pair = |value: &str| value.split_once('\t').map(|(one, two)| (one.to_owned(), two.to_owned()));
        for (key, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            match key {
                "place" => state.places.push(value.to_owned()),
                "head" => state.head = value.to_owned(),
                "endangered" => state.endangered.push(value.to_owned()),
                "untracked" => {
                    state.endangered.push(value.to_owned());
                    state.untracked.push(value.to_owned());
                }
                "mode" => state.modes.push(value.to_owned()),
                "blocked" => state.blocked.extend(pair(value)),
                "displaced" => state.displaced.extend(pair(value)),
                "upstream" => state.upstream.push(value.to_owned()),
                "changes" => state.changes = value.trim().parse().unwrap_or_default(),
                _ => {}
            }
        }
        state
    }
}

/// A protected file, as a line of the look says it.
pub(crate) fn protected(line: &str) -> Option<Protected> {
    let mut fields = line.splitn(3, '\t');
    let (sha256, stat, path) = (fields.next()?, fields.next()?, fields.next()?);
    Some(Protected { path: path.to_owned(), stat: stat.to_owned(), sha256: sha256.to_owned() })
}
