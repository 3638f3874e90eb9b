# Says what moving a checkout would meet; touches no file of the work tree. Where there is
# none, only the directory's absolute path.
# Arguments: CHECKOUT REMOTE BRANCH COMMIT PROTECTED...
set -eu
LC_ALL=C
export LC_ALL
# Not inside another one, such as a home directory under version control.
if [ ! -e "$1/.git" ]; then
    readlink -m -- "$1" 2>/dev/null || printf '%s\n' "$1"
    exit 46
fi
cd -- "$1"
printf 'place %s\n' "$(pwd)" "$(pwd -P)"
remote=$2 branch=$3 commit=$4
shift 4
there() { git cat-file -e "$commit^{commit}" 2>/dev/null; }
if ! there; then
    if [ -n "$branch" ]; then
        git fetch -q --no-tags "$remote" "+refs/heads/$branch:refs/remotes/$remote/$branch" </dev/null || exit 45
    else
        git fetch -q --no-tags "$remote" </dev/null || exit 45
    fi
    there || exit 45
fi
# Where nothing was ever checked out, all there is to come is new.
if base=$(git rev-parse -q --verify HEAD); then
    echo "head $base"
    for file do
        git diff --quiet HEAD "$commit" -- ":(top,literal)$file" || echo "upstream $file"
    done
else
    base=$(git hash-object -t tree /dev/null)
fi
for file do
    shift
    set -- "$@" ":(exclude,top,literal)$file"
done
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
git update-index -q --refresh >/dev/null 2>&1 || true
echo "changes $(git -c core.quotePath=false diff --name-only --no-renames "$base" "$commit" -- :/ "$@" | wc -l)"
# Changed by hand: differs from what is checked out and from what is to come.
# (A move that was cut off partway differs from HEAD alone.)
git -c core.quotePath=false diff --name-only --no-renames "$base" -- :/ "$@" | sort > "$work/head"
git -c core.quotePath=false diff --name-only --no-renames "$commit" -- :/ "$@" | sort > "$work/commit"
comm -12 "$work/head" "$work/commit" | while IFS= read -r path; do
    printf 'endangered %s\n' "$path"
done
# Not under version control, and in the way of a file to come.
export commit
git diff -z --name-only --no-renames --diff-filter=A "$base" "$commit" -- :/ "$@" | xargs -0 -r sh -c '
    for path do
        [ -e "$path" ] || [ -L "$path" ] || continue
        git ls-files --error-unmatch -- "$path" >/dev/null 2>&1 && continue
        [ "$(git hash-object -- "$path" 2>/dev/null)" = "$(git rev-parse "$commit:$path")" ] || printf "endangered %s\n" "$path"
    done' sh
