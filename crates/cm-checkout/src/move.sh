# Moves a checkout to a commit around its protected files.
# Arguments: CHECKOUT COMMIT SNAPSHOTS RELEASE END KEEP PROTECTED...
# END is the script that ends a build, KEEP the commit whose build may go on.
set -eu
LC_ALL=C
export LC_ALL
umask 022
home=$(pwd)
cd -- "$1"
# A build whose program was killed may still run here, and so may an `up`.
sh -c "$5" sh "$(dirname -- "$3")/build" "$6"
exec 9<.
if command -v flock >/dev/null; then
    flock -w 240 9 || { echo "another command still runs in $1" >&2; exit 1; }
fi
commit=$2
case $3 in
/*) snapshots=$3 ;;
*) snapshots=$home/$3 ;;
esac
release=$4
shift 6

# SHA-256, TAB, inode mode owner group size, TAB, path: one line a file.
look() {
    for file do
        if [ -f "$file" ]; then
            sum=$(sha256sum < "$file")
            printf '%s\t%s\t%s\n' "${sum%% *}" "$(stat -c '%i %a %u %g %s' -- "$file")" "$file"
        elif [ -e "$file" ] || [ -L "$file" ]; then
            printf '\t%s\t%s\n' "$(stat -c '%i %a %u %g' -- "$file")" "$file"
        else
            printf '\tabsent\t%s\n' "$file"
        fi
    done
}

# The first time, a protected file that the host has not comes from the commit.
git rev-parse -q --verify HEAD >/dev/null || for file do
    [ ! -e "$file" ] && [ ! -L "$file" ] && git cat-file -e "$commit:$file" 2>/dev/null || continue
    git restore --source="$commit" --worktree -- ":(top,literal)$file"
done

before=$(look "$@")
(
    umask 077
    mkdir -p -- "$snapshots/$release"
    for file do
        [ -f "$file" ] || continue
        mkdir -p -- "$snapshots/$release/$(dirname -- "$file")"
        cp -p -- "$file" "$snapshots/$release/$file"
    done
    sync -- "$snapshots/$release"
    # The thirty newest stay; run ids sort by time.
    cd -- "$snapshots"
    for old in $(ls -1 | sort | head -n -30); do rm -rf -- "./$old"; done
)

files=$#
for file do
    shift
    set -- "$@" ":(exclude,top,literal)$file"
done
git restore --source="$commit" --staged --worktree -- :/ "$@"
git reset -q --soft "$commit"
while [ "$files" -gt 0 ]; do
    spec=":(top,literal)${1#:(exclude,top,literal)}"
    shift
    set -- "$@" "${spec#:(top,literal)}"
    git reset -q "$commit" -- "$spec" >/dev/null
    files=$((files - 1))
done

[ "$(git rev-parse HEAD)" = "$(git rev-parse "$commit^{commit}")" ] || { echo "HEAD is not the commit" >&2; exit 1; }
after=$(look "$@")
if [ "$before" != "$after" ]; then
    printf 'before:\n%s\nafter:\n%s\n' "$before" "$after" >&2
    exit 47
fi
printf '%s\n' "$after"
