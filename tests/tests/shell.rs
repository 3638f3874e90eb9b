//! At a prompt: what a program says to somebody who types its bare name, its version, and
//! what the Tab key finds, in real shells.

use cm_testkit::Home;
use serde_json::Value;

const ALL: [&str; 8] =
    ["cm-lock", "cm-detect", "cm-backup", "cm-build", "cm-health", "cm-verify", "cm-rollback", "cm-record"];

#[test]
fn the_bare_name_on_a_terminal_is_answered_in_five_lines() {
    let home = Home::new();
    for program in ALL {
        let answer = home.run("script", &["-qec", program, "/dev/null"], "", None);
        let lines: Vec<_> = answer.stdout.lines().collect();
        assert_eq!((answer.code, lines.len()), (2, 5), "{answer:?}");
        assert!(lines[0].starts_with(&format!("{program}: ")), "{answer:?}");
        assert_eq!(home.files(), [""; 0], "{program} does nothing");
        // Where something comes in or goes out, it does its work: here, it misses a project.
        for line in [format!("{program} | cat"), format!("{program} </dev/null"), format!("{program} --quiet")] {
            let answer = home.run("script", &["-qec", &line, "/dev/null"], "", None);
            assert!(!answer.stdout.contains("More: "), "{line}: {answer:?}");
        }
        std::fs::remove_dir_all(home.path().join("state")).ok();
    }
}

#[test]
fn a_version_is_for_people_and_for_programs() {
    let home = Home::new();
    for program in ALL {
        let answer = home.run(program, &["--version"], "", None);
        assert!(answer.code == 0 && answer.stdout.starts_with(&format!("{program} ")), "{answer:?}");
        let answer = home.run(program, &["--version", "--json"], "", None);
        let value: Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
        assert_eq!((answer.code, value["tool"].as_str()), (0, Some(program)), "{answer:?}");
        assert_eq!(value["schemas"][0], "cm.deployment/1");
        assert!(value["version"].is_string() && value.get("commit").is_some(), "{answer:?}");
    }
}

/// A home with the completions of all programs and a project.
fn completions() -> Home {
    let home = Home::new();
    let made = home.run("cm-docs", &["--completions", "."], "", None);
    assert_eq!(made.code, 0, "{made:?}");
    let config = "project = \"shop\"\n[hosts.web]\naddress = \"local\"\n[hosts.worker]\naddress = \"ada@w\"\nservices = [\"queue\"]\n[groups]\nfront = [\"gateway\", \"shop-ui\"]\n";
    std::fs::write(home.path().join("cm.toml"), config).expect("cm.toml");
    let compose = "services:\n  gateway: {image: a}\n  shop-ui: {image: a}\n  queue: {image: a}\n";
    std::fs::write(home.path().join("compose.yaml"), compose).expect("compose.yaml");
    home
}

/// What is typed, and what Tab finds for its last word.
const CASES: [(&str, &[&str]); 7] = [
    ("cm-build --service ", &["gateway", "queue", "shop-ui"]),
    ("cm-health --service s", &["shop-ui"]),
    ("cm-detect --group ", &["front"]),
    ("cm-lock status --host w", &["web", "worker"]),
    ("cm-rollback --host wo", &["worker"]),
    ("cm-record why g", &["gateway"]),
    ("cm-record hist", &["history"]),
];

#[test]
fn bash_completes_names_of_the_project() {
    let home = completions();
    let script = r#"source "$1.bash"; shift
        set -- $(complete -p "$1" | sed 's/.* -F \([^ ]*\) .*/\1/') "$@"
        function=$1; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_TYPE=9
        "$function" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}" "#;
    for (line, wanted) in CASES {
        let words: Vec<_> = line.split(' ').collect();
        let arguments = [&["--norc", "-c", script, "bash", words[0]], words.as_slice()].concat();
        let answer = home.run("bash", &arguments, "", None);
        let mut found: Vec<_> = answer.stdout.lines().map(str::trim_end).collect();
        found.sort_unstable();
        assert_eq!(found, wanted, "{line:?}: {answer:?}");
    }
}

#[test]
fn fish_completes_names_of_the_project() {
    let home = completions();
    for (line, wanted) in CASES {
        let program = line.split(' ').next().expect("a program");
        let script = format!("source {program}.fish; complete -C '{line}'");
        let answer = home.run("fish", &["--no-config", "-c", &script], "", None);
        let mut found: Vec<_> = answer.stdout.lines().map(|line| line.split('\t').next().unwrap_or_default()).collect();
        found.sort_unstable();
        assert_eq!(found, wanted, "{line:?}: {answer:?}");
    }
}

#[test]
fn zsh_completes_names_of_the_project_at_the_first_tab() {
    let home = completions();
    std::fs::write(home.path().join("tab.zsh"), TAB).expect("a script");
    for (line, wanted) in CASES {
        let answer = home.run("zsh", &["-f", "tab.zsh", line], "", None);
        let mut found: Vec<_> = answer.stdout.split_whitespace().collect();
        found.sort_unstable();
        assert_eq!(found, wanted, "{line:?}: {answer:?}");
    }
}

/// A zsh in a pseudo terminal that types a line and presses Tab once. What would be offered is
/// said by `compadd`, which everything that completes calls.
const TAB: &str = r#"
zmodload zsh/zpty
zpty shell zsh -f -i
line=$1
zpty -w shell "PS1=; fpath=($PWD \$fpath); autoload -U compinit; compinit -u -D"
zpty -w shell 'compadd() { local -a own; builtin compadd -O own "$@"; print -r -- "<FOUND>${own[*]}</FOUND>"; builtin compadd "$@"; }'
zpty -w shell 'print READ""Y'
zpty -r shell text '*READY*' || exit 1
zpty -w -n shell "$line"$'\t'
zpty -r shell text '*</FOUND>*' || exit 1
print -r -- ${${text##*<FOUND>}%%</FOUND>*}
zpty -d shell
"#;
