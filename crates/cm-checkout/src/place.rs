//! Where a checkout is to be made: whether there can be one. What is there may be something else, and the deploy user
//! may not be able to make or to see what is meant.

/// A shell function as a literal, to put before a script with `concat!`: `no_place PATH` says why no checkout can
/// be made at a path that has none; nothing where one can.
#[macro_export]
macro_rules! place_sh {
    () => {
        r#"# What is nearest on the way to it decides.
no_place() { # PATH
    place=$1
    while [ "${place%/}" != "$place" ] && [ "$place" != / ]; do place=${place%/}; done
    whole=$place
    while [ ! -e "$place" ] && [ ! -L "$place" ]; do
        case $place in
        /*/*) place=${place%/*} ;;
        /*) place=/ ;;
        */*) place=${place%/*} ;;
        *) place=. ;;
        esac
    done
    if [ ! -e "$place" ]; then
        printf '%s is a link to %s, which is not there or cannot be reached\n' "$place" "$(readlink -- "$place")"
    elif [ ! -d "$place" ]; then
        printf '%s is not a directory\n' "$place"
    elif [ ! -x "$place" ] || [ ! -w "$place" ]; then
        tried=$(mktemp -d "$place/.cm-XXXXXX" 2>&1) && rmdir -- "$tried" && return
        printf '%s: %s (owner %s, mode %s)\n' "$place" "${tried##*: }" "$(stat -c %U -- "$place")" "$(stat -c %a -- "$place")"
    elif [ "$place" != "$whole" ]; then
        :
    elif [ -L "$place/.git" ]; then
        printf '%s is a link to %s, which is not there or cannot be reached\n' "$place/.git" "$(readlink -- "$place/.git")"
    elif [ -f "$place/HEAD" ] && [ -d "$place/objects" ] && [ -d "$place/refs" ]; then
        printf '%s is a bare repository, not a checkout\n' "$place"
    fi
}
"#
    };
}

/// What to do about a `path` where there can be no checkout, by why.
pub fn place_hint(path: &str, why: &str) -> String {
    match why {
        _ if why.contains("Permission denied") => {
            format!(
                "the deploy user must be able to write there: as root, once: install -d -o USER {path}; or fix `checkout` in cm.toml"
            )
        }
        _ if why.contains("Read-only file system") => {
            "its file system is read-only: `mount` there says which one; or fix `checkout` in cm.toml".to_owned()
        }
        _ => "fix `checkout` in cm.toml, or look at what is there and move it away".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;
    use std::process::Command;

    fn said(directory: &Path, path: &str) -> String {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{}no_place \"$1\"", place_sh!()), "sh", path]).current_dir(directory);
        // As root, every directory can be written.
        if std::os::unix::fs::MetadataExt::uid(&directory.metadata().expect("it")) == 0 {
            let inside = shell;
            shell = Command::new("setpriv");
            shell.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
            shell.arg(inside.get_program()).args(inside.get_args()).current_dir(directory);
        }
        let output = shell.output().expect("sh");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    #[test]
    fn what_is_in_the_way_of_a_checkout_is_named() {
        let scene = tempfile::tempdir().expect("directory");
        let at = |name: &str| scene.path().join(name);
        let mode = |name: &str, mode: u32| {
            std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(mode)).expect("mode");
        };
        for name in [
            "open/empty",
            "open/bare/objects",
            "open/bare/refs",
            "open/hidden/.git",
            "open/dangling",
            "closed",
            "sealed",
        ] {
            std::fs::create_dir_all(at(name)).expect("mkdir");
        }
        for name in ["open", "open/empty", "open/bare", "open/dangling", "open/hidden"] {
            mode(name, 0o777);
        }
        for name in ["open/file", "open/bare/HEAD"] {
            std::fs::write(at(name), "").expect("write");
        }
        symlink("nowhere", at("open/link")).expect("link");
        symlink("empty", at("open/good")).expect("link");
        symlink("/gone/.git", at("open/dangling/.git")).expect("link");
        mode("", 0o755);
        mode("closed", 0o555);
        mode("sealed", 0o700);
        for (path, why) in [
            ("open/new", ""),
            ("open/new/below/it", ""),
            ("open/empty", ""),
            ("open/empty/", ""),
            ("open/good", ""),
            ("open/file", "open/file is not a directory"),
            ("open/file/", "open/file is not a directory"),
            ("open/file/app/", "open/file is not a directory"),
            ("open/link", "open/link is a link to nowhere, which is not there or cannot be reached"),
            ("open/link/", "open/link is a link to nowhere, which is not there or cannot be reached"),
            ("open/link/app", "open/link is a link to nowhere, which is not there or cannot be reached"),
            ("open/dangling", "open/dangling/.git is a link to /gone/.git, which is not there or cannot be reached"),
            ("open/bare", "open/bare is a bare repository, not a checkout"),
            ("/dev/null", "/dev/null is not a directory"),
            ("/dev/null/app", "/dev/null is not a directory"),
        ] {
            assert_eq!(said(scene.path(), path), why, "{path}");
        }
        for path in ["closed", "closed/app", "sealed", "sealed/some/app"] {
            let (place, said) = (path.split('/').next().unwrap_or_default(), said(scene.path(), path));
            assert!(said.starts_with(&format!("{place}: Permission denied (owner ")), "{path}: {said}");
        }
        let absolute = at("open/file/app").display().to_string();
        assert_eq!(said(scene.path(), &absolute), format!("{} is not a directory", at("open/file").display()));
    }
}
