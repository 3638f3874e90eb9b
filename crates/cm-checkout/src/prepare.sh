# Says what moving a checkout would meet; touches no file of the work tree. Where there is
# none, only the directory's absolute path.
# Arguments: CHECKOUT REMOTE BRANCH COMMIT PROTECTED...
# `git.sh`, `blocked.sh` and `modules.sh` are before.
set -eu
git_settings input
# Not inside another one, such as a home directory under version control.
if [ ! -e "$1/.git" ]; then
    why=$(no_place "$1")
    [ -z "$why" ] || { printf '%s\n' "$why" >&2 && exit 53; }
    absolute "$1"
    exit 46
fi
cd -- "$1"
git rev-parse --git-dir >/dev/null || exit 52
repository_directory=$(git rev-parse --git-common-dir)
printf 'place %s\n' "$(pwd)" "$(pwd -P)"
remote=$2 branch=$3 commit=$4
shift 4
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
blocked=$(blocked_repository)
if [ -n "$blocked" ]; then
    printf '%s\n' "$blocked"
    exit 0
fi
there() { whole "$(git rev-parse --git-dir)" "$commit"; }
fetch() {
    code=0
    git fetch --progress --no-tags --no-recurse-submodules -- "$remote" ${branch:+"+refs/heads/$branch:refs/remotes/$remote/$branch"} \
        </dev/null 2>"$repository_directory/cm-fetch" || code=$?
    fetch_words "$repository_directory/cm-fetch" >"$work/said"
    return "$code"
}
if ! there; then
    # A branch that is gone, `release`, keeps the name of `release/2`.
    # With the commit here, it does not matter that the name of its branch is held by a lock.
    fetch || { grep -qE 'remote prune|cannot lock ref' "$work/said" && git remote prune -- "$remote" </dev/null >/dev/null 2>&1 && fetch; } || there || {
        cat "$work/said" >&2
        grep -q "couldn't find remote ref" "$work/said" && fetched_from "$remote" && exit 45
        exit 48
    }
    there || { fetched_from "$remote" && exit 45; }
fi
[ -e "$(git rev-parse --git-path index)" ] || git read-tree HEAD 2>/dev/null || :
# Where nothing was ever checked out, all there is to come is new.
if base=$(git rev-parse -q --verify HEAD); then
    echo "head $base"
    for file do
        git diff --quiet HEAD "$commit" -- ":(top,literal)$file" || echo "upstream $file"
    done
else
    base=$(git hash-object -t tree /dev/null)
fi
# A clone without the content of files: what the move will write is fetched now, at once.
if [ -n "$(git config --get-regexp '^remote\..*\.promisor$' true)" ]; then
    git diff --numstat --no-renames "$base" "$commit" </dev/null >/dev/null 2>"$work/said" || { cat "$work/said" >&2 && exit 48; }
fi
displaced_files "$commit" "$base" "$@"
for file do
    shift
    set -- "$@" ":(exclude,top,literal)$file"
done
modules "$repository_directory" "$commit" "" "$(git remote get-url -- "$remote" || :)" >"$work/modules" || exit
cat "$work/modules"
filters "$repository_directory" "$commit" "" "$remote" || exit
gitlinks "$repository_directory" "$base" | cut -f 2 | sort >"$work/links"
gitlinks "$repository_directory" "$commit" | cut -f 2 | sort | comm -23 "$work/links" - |
    while IFS= read -r path; do edited_module "$path"; done
git update-index -q --refresh >/dev/null 2>&1 || true
echo "changes $(git diff --name-only --no-renames "$base" "$commit" -- :/ "$@" | wc -l)"
blocked_paths "$commit" "$@"
# Changed by hand: differs from what is checked out and from what is to come.
# (A move that was interrupted partway differs from HEAD alone.)
differing() { # MODES NAME COMMIT PATHSPEC...
    modes=$1 name=$2 from=$3
    shift 3
    git -c core.fileMode="$modes" diff --name-only --no-renames --ignore-submodules=all "$from" -- :/ "$@" | sort >"$work/$name"
}
differing false head "$base" "$@"
differing false commit "$commit" "$@"
comm -12 "$work/head" "$work/commit" | while IFS= read -r path; do printf 'endangered %s\n' "$path"; done
unwatched "$@" | while IFS= read -r path; do
    now=$(git hash-object --path="$path" -- "$path" 2>/dev/null) || continue
    case $now in
    "$(git rev-parse -q --verify "$base:$path")" | "$(git rev-parse -q --verify "$commit:$path")") ;;
    *) printf 'endangered %s\n' "$path" ;;
    esac
done
# Nothing is lost with a mode.
differing true head-modes "$base" "$@"
differing true commit-modes "$commit" "$@"
comm -23 "$work/head-modes" "$work/head" >"$work/modes"
comm -12 "$work/modes" "$work/commit-modes" | while IFS= read -r path; do printf 'mode %s\n' "$path"; done
# Not under version control, and in the way of a file to come: at its place, below it, above it.
tracked() { # PATH - by the repository, or by a submodule that there was
    git ls-files --error-unmatch -- ":(literal)$1" >/dev/null 2>&1 && return
    while IFS= read -r link; do
        case $1 in "$link"/*) git -C "$link" ls-files --error-unmatch -- ":(literal)${1#"$link/"}" >/dev/null 2>&1 && return ;; esac
    done <"$work/links"
    return 1
}
in_the_way_of() { # PATH - of the files on stdin, a submodule overwrites those that it has itself
    if ! git ls-tree "$commit" -- ":(top,literal)$1" | grep -q '^160000 '; then
        cat
        return
    fi
    module=$repository_directory/modules/$(module_name "$repository_directory" "$commit" "$1")
    while IFS= read -r file; do
        ! in_repository "$module" cat-file -e "$(git rev-parse "$commit:$1"):${file#"$1/"}" 2>/dev/null || printf '%s\n' "$file"
    done
}
git diff --name-only --no-renames --ignore-submodules=none --diff-filter=A "$base" "$commit" -- :/ "$@" >"$work/added"
while IFS= read -r path; do
    if [ -d "$path" ] && [ ! -L "$path" ]; then
        git ls-files --others -- ":(literal)$path" | in_the_way_of "$path" | head -n 20
    elif [ -e "$path" ] || [ -L "$path" ]; then
        tracked "$path" && continue
        [ -f "$path" ] && [ ! -L "$path" ] && [ "$(git hash-object --path="$path" -- "$path" 2>/dev/null)" = "$(git rev-parse "$commit:$path")" ] && continue
        printf '%s\n' "$path"
    fi
done <"$work/added" >"$work/untracked"
sed -n 's,/[^/]*$,,p' "$work/added" | sort -u | while IFS= read -r path; do
    while :; do
        if [ -L "$path" ] || { [ -e "$path" ] && [ ! -d "$path" ]; }; then
            tracked "$path" || printf '%s\n' "$path"
        fi
        [ "${path%/*}" != "$path" ] || break
        path=${path%/*}
    done
done >>"$work/untracked"
sort -u "$work/untracked" | while IFS= read -r path; do printf 'untracked %s\n' "$path"; done
