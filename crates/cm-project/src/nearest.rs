//! "Did you mean": the known name that is nearest to one that is not known.

/// The candidate most like `name`, if one is like it at all.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (likeness(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= 0.65)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// 1 for the same; long names by their beginnings, short ones by swapped letters.
fn likeness(a: &str, b: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(a, b).max(strsim::jaro_winkler(a, b) - 0.1)
}

/// A hint for an unknown `name`: the nearest candidate, else all of them.
pub fn hint<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(name, candidates.clone()) {
        Some(candidate) => format!("did you mean {candidate:?}?"),
        None => match candidates.into_iter().collect::<Vec<_>>() {
            known if known.is_empty() => "there are none".to_owned(),
            known => format!("known: {}", known.join(", ")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_name() {
        let names = ["dashboard", "backend-gateway", "redis"];
        assert_eq!(nearest("dashbord", names), Some("dashboard"));
        assert_eq!(nearest("rnu", ["run", "base"]), Some("run"));
        assert_eq!(nearest("gateway", names), None);
        assert_eq!(hint("zzz", names), "known: dashboard, backend-gateway, redis");
    }
}
