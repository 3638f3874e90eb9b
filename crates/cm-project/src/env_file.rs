//! The keys of an env file. Only names: the values are a server's secrets.

/// What stands for a key of an env file in what [`env_keys_sh`](crate::env_keys_sh) prints.
pub const KEY_FACT: &str = "env-key";

/// A shell function as a literal, to put before a script with `concat!`: `env_keys FILE`
/// prints `env-key=NAME` for every key that the file sets, and no value. The same rules
/// as [`keys`](crate::env_file::keys).
#[macro_export]
macro_rules! env_keys_sh {
    () => {
        r#"env_keys() { # FILE
    sed -n 's/^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}\([A-Za-z_][A-Za-z0-9_]*\)[[:space:]]*=.*/env-key=\2/p' "$1"
}
"#
    };
}

/// The names that the text of an env file sets, in its order: `NAME=…` or `export NAME=…`.
pub fn keys(text: &str) -> Vec<String> {
    let plain = |name: &&str| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let names = lines.map(|(name, _)| name.trim().trim_start_matches("export ").trim());
    names.filter(plain).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    const TEXT: &str =
        "# A=1\n#B=2\nC=x=y\nexport D='e f'\n  E=\nG =1\nnot a key=1\n1F=2\n=x\nno equals sign\nexport  H=\"a\"\n";

    #[test]
    fn comments_and_values_are_no_keys() {
        assert_eq!(keys(TEXT), ["C", "D", "E", "G", "H"]);
    }

    #[test]
    fn a_server_finds_the_same_keys_and_says_no_value() {
        let script = concat!(env_keys_sh!(), "env_keys /dev/stdin");
        let mut shell = Command::new("sh");
        let mut shell = shell.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh");
        shell.stdin.take().expect("stdin").write_all(TEXT.as_bytes()).expect("write");
        let output = shell.wait_with_output().expect("its end");
        let lines: Vec<_> = keys(TEXT).iter().map(|key| format!("{KEY_FACT}={key}\n")).collect();
        assert_eq!(String::from_utf8_lossy(&output.stdout), lines.concat());
    }
}
