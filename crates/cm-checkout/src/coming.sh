# Says whether what a commit has elsewhere can be brought to this server, before there is a checkout: the repositories of
# its submodules are asked for their commits, and theirs. Of the content only what says what is elsewhere again comes, to
# a directory that is removed. On stdin, for `git fast-import`, what of the commit decides it.
# Argument: the URL that a checkout is made from. `git.sh` and `modules.sh` are before.
set -eu
git_settings input
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
cd -- "$work"
git init -q --bare . && git fast-import --quiet --done
# shellcheck disable=SC2317
few() { # GITDIR ARGUMENTS-OF-FETCH... - what it said is in $work/said
    few_of=$1
    shift
    limited 60 git --git-dir="$few_of" fetch -q "$@" >/dev/null 2>"$work/said" </dev/null
}
# One commit with its directories and its small files, as .gitmodules and pointers of Git LFS are. Whoever does not know the
# filter sends all of it, or has no time to.
# shellcheck disable=SC2317
fetch_module() { # GITDIR SHA URL PATH
    limited 20 git ls-remote -q -- "$3" HEAD >/dev/null </dev/null || no_module "$4" "cannot be fetched from $3"
    make_module "$1" "$3" || no_module "$4" 'cannot be made'
    if ! few "$1" --depth 1 --filter=blob:limit=8k origin "$2"; then
        # An old protocol gives what has a name.
        if grep -q 'unadvertised object' "$work/said"; then
            ! few "$1" --filter=tree:0 origin || git --git-dir="$1" cat-file -e "$2" 2>/dev/null || no_module "$4" "commit $2 is not in $3"
        elif grep -q 'not our ref' "$work/said"; then
            no_module "$4" "commit $2 is not in $3"
        fi
    fi
    # What did not come is not asked for one by one.
    git --git-dir="$1" config --remove-section remote.origin || :
    git --git-dir="$1" config --unset extensions.partialClone || :
}
# shellcheck disable=SC2317
large_files() { # GITDIR COMMIT PREFIX REMOTE
    first=$(pointer "$1" "$2")
    [ -z "$first" ] || git lfs version >/dev/null 2>&1 || no_large_files "$3$first"
}
modules "$work" refs/heads/coming "" "$1" || exit
filters "$work" refs/heads/coming "" "$1" || exit
