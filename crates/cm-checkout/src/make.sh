# Makes the repository of a checkout that is not there yet, all of it or nothing. No file of
# the work tree is written: moving the checkout does that. What lies in the directory stays.
# Arguments: CHECKOUT URL REMOTE BRANCH COMMIT FILTER
# FILTER is of git, or empty. `git.sh` is before.
set -eu
umask 022
path=$1 url=$2 remote=$3 branch=$4 commit=$5 filter=$6
was=yes
[ -d "$path" ] || was=no
mkdir -p -- "$path"
cd -- "$path"
exec 9<.
if command -v flock >/dev/null; then
    lock_within 240 9 || { echo "another command still runs in $path" >&2; exit 1; }
fi
[ ! -e .git ] || exit 0
new=.git.cm-new
fetching=
# shellcheck disable=SC2317
leave() {
    [ -z "$fetching" ] || kill "$fetching" 2>/dev/null || :
    rm -rf -- "$new"
    [ "$was" = yes ] || rmdir -- "$(pwd)" 2>/dev/null || :
}
trap leave EXIT
trap 'exit 143' HUP INT TERM
rm -rf -- "$new"
git -c init.defaultBranch="$branch" init -q -- "$new"
git -C "$new" remote add -- "$remote" "$url"
git -C "$new" config "branch.$branch.remote" "$remote"
git -C "$new" config "branch.$branch.merge" "refs/heads/$branch"
# Waited for in the background, so that a signal is heard at once.
git -C "$new" fetch --progress ${filter:+"--filter=$filter"} -- "$remote" </dev/null 2>"$new/.git/cm-fetch" &
fetching=$!
code=0
wait "$fetching" || code=48
fetching=
fetch_words "$new/.git/cm-fetch" >&2
[ "$code" -eq 0 ] || exit "$code"
git -C "$new" cat-file -e "$commit^{commit}" 2>/dev/null || exit 45
mv -- "$new/.git" .git
was=yes
