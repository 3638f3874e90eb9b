# Says whether what a commit has elsewhere can be brought to this server, before there is a checkout: the repositories of
# its submodules are asked, and nothing is fetched. On stdin, for `git fast-import`, what of the commit decides it.
# Argument: the URL that a checkout is made from. `git.sh` and `modules.sh` are before.
set -eu
git_settings input
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
cd -- "$work"
git init -q --bare . && git fast-import --quiet --done
# shellcheck disable=SC2317
fetch_module() { # GITDIR SHA URL PATH
    limited 20 git ls-remote -q -- "$3" HEAD >/dev/null </dev/null || no_module "$4" "cannot be fetched from $3"
}
# shellcheck disable=SC2317
large_files() { # GITDIR COMMIT PREFIX REMOTE
    first=$(pointer "$1" "$2")
    [ -z "$first" ] || git lfs version >/dev/null 2>&1 || no_large_files "$3$first"
}
modules "$work" refs/heads/coming "" "$1" || exit
filters "$work" refs/heads/coming "" "$1" || exit
