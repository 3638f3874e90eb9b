//! How configs that cm keeps in a Swarm are named after a project: the deploy lock, the ledger. A config's name has at
//! most 64 characters, a project's may have more than fits next to a word and a number, and two projects may begin alike.

/// A shell function as a literal, to put before a script with `concat!`: `config_stem PROJECT` says the project's name;
/// of one of more than 40 characters the first 31 and eight digits of its SHA-256.
#[macro_export]
macro_rules! config_stem_sh {
    () => {
        r#"config_stem() { # PROJECT
    if [ "${#1}" -le 40 ]; then
        printf '%s' "$1"
    else
        printf '%.31s-%.8s' "$1" "$(printf '%s' "$1" | sha256sum)"
    fi
}
"#
    };
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    fn stem(project: &str) -> String {
        let script = concat!(config_stem_sh!(), "config_stem \"$1\"");
        let output = Command::new("sh").args(["-euc", script, "sh", project]).output().expect("sh");
        assert!(output.status.success(), "{project}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    #[test]
    fn two_projects_never_have_the_same_and_a_short_one_keeps_its_name() {
        let forty = "a".repeat(40);
        for short in ["shop", "shop-2", forty.as_str()] {
            assert_eq!(stem(short), short);
        }
        let alike = ["production", "staging"].map(|end| stem(&format!("{forty}-{end}")));
        assert_ne!(alike[0], alike[1], "they begin alike");
        assert!(alike.iter().all(|stem| stem.len() == 40), "{alike:?}");
        assert!("cm-ledger-".len() + 40 + "-00000001".len() <= 64);
    }
}
