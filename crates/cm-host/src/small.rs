//! What a small system has in a smaller form (busybox, as on Alpine), as functions for the scripts
//! that are run on hosts. One home for it, so that no script has to know which system it is on.

/// Shell functions as a literal, to put before a script with `concat!`:
/// `lock_within SECONDS FILE|NUMBER [COMMAND]` is `flock -w`, `limited SECONDS COMMAND` is `timeout`,
/// `now` is the time for `docker events --until`, `absolute PATH` is `readlink -m`.
#[macro_export]
macro_rules! small_sh {
    () => {
        r#"# Busybox's flock waits for ever or not at all.
lock_within() { # SECONDS FILE|NUMBER [COMMAND]
    flock_seconds=$1
    shift
    flock -n "$@" && return
    case $(flock --help 2>&1) in *--timeout*) flock -w "$flock_seconds" "$@" && return || return 1 ;; esac
    while [ "$flock_seconds" -gt 0 ]; do
        sleep 1
        flock_seconds=$((flock_seconds - 1))
        flock -n "$@" && return
    done
    return 1
}
# 124 is too slow. Busybox's timeout says how the command ended instead.
limited() { # SECONDS COMMAND...
    limited_since=$(date +%s)
    limited_code=0
    timeout "$@" || limited_code=$?
    [ "$limited_code" -ne 143 ] || [ "$(($(date +%s) - limited_since))" -lt "$1" ] || limited_code=124
    return "$limited_code"
}
# To the nanosecond, or the second that begins next.
now() {
    now_is=$(date +%s.%N)
    case $now_is in '' | *. | *[!0-9.]*) now_is=$(($(date +%s) + 1)) ;; esac
    printf '%s\n' "$now_is"
}
absolute() { # PATH
    readlink -m -- "$1" 2>/dev/null && return
    absolute_from=$(pwd -P)
    case $1 in
    /*) printf '%s\n' "$1" ;;
    *) printf '%s/%s\n' "${absolute_from%/}" "$1" ;;
    esac
}
"#
    };
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::Command;

    /// The output of a script, with commands of a small system in front of the others.
    fn said(small: &Path, script: &str) -> String {
        let path = format!("{}:{}", small.display(), std::env::var("PATH").expect("a PATH"));
        let mut shell = Command::new("sh");
        let output = shell.args(["-c", &format!("{}{script}", small_sh!())]).env("PATH", path).output().expect("sh");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A `flock` as busybox has it, `timeout` that ends with the signal, `date` without `%N`, `readlink` without `-m`.
    fn small_system() -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("directory");
        let real = |name: &str| {
            let found = Command::new("sh").args(["-c", &format!("command -v {name}")]).output().expect("sh");
            String::from_utf8_lossy(&found.stdout).trim().to_owned()
        };
        for (name, text) in [
            (
                "flock",
                format!(
                    "case $1 in -w* | --*) echo 'Usage: flock [-sxun] FD | FILE' >&2; exit 1 ;; esac\nexec {} \"$@\"\n",
                    real("flock")
                ),
            ),
            ("timeout", format!("{} \"$@\"; code=$?; [ $code = 124 ] && exit 143; exit $code\n", real("timeout"))),
            (
                "date",
                format!(
                    "case $1 in *N) {0} \"$(echo \"$1\" | sed s/N/E/)\" | tr -d E ;; *) exec {0} \"$@\" ;; esac\n",
                    real("date")
                ),
            ),
            ("readlink", "exit 1\n".to_owned()),
        ] {
            let file = directory.path().join(name);
            std::fs::write(&file, format!("#!/bin/sh\n{text}")).expect("write");
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("mode");
        }
        directory
    }

    #[test]
    fn they_mean_the_same_on_every_system() {
        let (small, none) = (small_system(), tempfile::tempdir().expect("directory"));
        for system in [small.path(), none.path()] {
            let file = none.path().join("lock");
            let lock = file.display();
            let taken = format!("exec 9>>'{lock}'; lock_within 0 9 && (lock_within 1 '{lock}' true || echo busy)");
            assert_eq!(said(system, &taken), "busy\n");
            let freed =
                format!("(exec 9>>'{lock}'; flock -n 9; sleep 0.5) & sleep 0.2; lock_within 5 '{lock}' echo mine");
            assert_eq!(said(system, &freed), "mine\n");
            assert_eq!(said(system, "limited 1 sleep 9; echo $?; limited 9 sh -c 'exit 143'; echo $?"), "124\n143\n");
            assert_eq!(said(system, "cd /; absolute x/y; absolute /x"), "/x/y\n/x\n");
            let said = said(system, "now; date +%s");
            let times: Vec<f64> = said.lines().map(|line| line.parse().expect("a number")).collect();
            assert!((times[0] - times[1]).abs() < 3.0, "{times:?}");
        }
    }
}
