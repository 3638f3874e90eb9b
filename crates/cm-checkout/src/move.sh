# Moves a checkout to a commit around its protected files: all of it, or it stays as it was.
# Arguments: CHECKOUT COMMIT SNAPSHOTS RELEASE END KEEP PROTECTED...
# END is the script that ends a build, KEEP the commit whose build may go on.
# `git.sh`, `blocked.sh` and `modules.sh` are before.
set -eu
umask 022
home=$(pwd)
cd -- "$1"
autocrlf=$(git config --get core.autocrlf || :)
git_settings false
# A build whose program was killed may still run here, and so may an `up`.
sh -c "$5" sh "$(dirname -- "$3")/build" "$6"
exec 9<.
if command -v flock >/dev/null; then
    lock_within 240 9 || { echo "another command still runs in $1" >&2; exit 1; }
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

# What a submodule that goes has of its own: its files, not what else lies there.
remove_module() { # PATH
    [ ! -f "$1/.git" ] || (
        cd -- "$1"
        git ls-files -z --recurse-submodules | xargs -0 -r rm -f -- 2>/dev/null || :
        find . -name .git -type f -exec rm -f -- {} +
        find . -depth -type d -exec rmdir -- {} + 2>/dev/null || :
    )
}

update_modules() {
    [ -e .gitmodules ] || return 0
    git submodule sync -q --recursive </dev/null >&2
    git submodule update -q --init --recursive --force --no-fetch </dev/null >&2
}

# How each file is written by the attributes of a commit: its name, TAB, attribute, TAB, value; a line end in a name is \001.
conversions() { # COMMIT PATHSPEC...
    of=$1
    shift
    (
        GIT_INDEX_FILE=$repository_directory/cm-index
        export GIT_INDEX_FILE
        git read-tree "$of" && git ls-files -z -- :/ "$@" |
            git check-attr -z --cached --stdin text eol crlf ident filter working-tree-encoding | tr '\n\000' '\001\n' |
            awk 'NR % 3 == 1 { name = $0 } NR % 3 == 2 { attribute = $0 } NR % 3 == 0 { print name "\t" attribute "\t" $0 }' | sort
        rm -f -- "$GIT_INDEX_FILE"
    )
}

# Git writes a file by the attributes that are there when it begins, so that they come and go first. A file whose content
# stays is not written at all, unless its time differs.
restore() { # COMMIT PATHSPEC...
    to=$1
    shift
    git restore --source="$to" --staged --worktree -- ':(top,glob)**/.gitattributes' "$@" 2>/dev/null || :
    [ -z "$converted" ] || printf '%s\n' "$converted" | tr '\n\001' '\000\n' | xargs -0 -r touch -c -h -d '2001-01-01 00:00:00' --
    git restore --source="$to" --staged --worktree -- :/ "$@"
}

# Where Git has no room for its index, it writes the files all the same: what counts is what is there then, by
# commands that write nothing themselves.
go_back() { # PATHSPEC...
    [ -n "$head" ] || return
    restore "$head" "$@" || :
    update_modules && modified=$(git ls-files --modified -- :/ "$@") && [ -z "$modified" ] &&
        git diff-index --cached --quiet "$head" -- :/ "$@"
}

# 49: as it was before.
moving=no
converted=
leave() { # PATHSPEC...
    status=$?
    trap - EXIT
    case $status:$moving in
    0:* | 47:*) exit "$status" ;;
    *:no) exit 49 ;;
    *:yes) ! go_back "$@" || exit 49 ;;
    esac
    exit 1
}
trap 'leave "$@"' EXIT

head=$(git rev-parse -q --verify HEAD || :)
# The first time, a protected file that the host has not comes from the commit.
[ -n "$head" ] || for file do
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
    for old in $(ls -1 | sort -r | tail -n +31); do rm -rf -- "./$old"; done
)


displaced=$(displaced_files "$commit" "${head:-$(git hash-object -t tree /dev/null)}" "$@")
if [ -n "$displaced" ]; then
    printf '%s\n' "$displaced" >&2
    exit 49
fi
files=$#
for file do
    shift
    set -- "$@" ":(exclude,top,literal)$file"
done
blocked=$(blocked_repository && blocked_paths "$commit" "$@")
if [ -n "$blocked" ]; then
    printf '%s\n' "$blocked" >&2
    exit 49
fi
repository_directory=$(git rev-parse --git-common-dir)
if [ -n "$head" ] && ! git diff --quiet "$head" "$commit" -- ':(top,glob)**/.gitattributes'; then
    conversions "$head" "$@" >"$repository_directory/cm-before"
    converted=$(conversions "$commit" "$@" | comm -3 "$repository_directory/cm-before" - | sed "s/^${tab}//; s/${tab}[^${tab}]*${tab}[^${tab}]*\$//" | uniq)
    rm -f -- "$repository_directory/cm-before"
fi
moving=yes
# What Git was told not to look at would stay as it is.
for bit in --no-assume-unchanged --no-skip-worktree; do
    unwatched "$@" | tr '\n' '\000' | git update-index -z "$bit" --stdin
done
# Git takes a file for clean that it once wrote with other line ends; not if its time differs.
case $autocrlf in
true | input)
    git ls-files --eol -- :/ "$@" | sed -n "s,^i/lf *w/\(crlf\|mixed\) *attr/[^$tab]*$tab,,p" | grep -v '^"' |
        while IFS= read -r file; do touch -c -d '2001-01-01 00:00:00' -- "$file"; done || :
    ;;
esac
if [ -n "$head" ]; then
    gitlinks "$repository_directory" "$head" | cut -f 2 | while IFS= read -r path; do
        git ls-tree "$commit" -- ":(top,literal)$path" | grep -q '^160000 ' || remove_module "$path"
    done
fi
restore "$commit" "$@"
update_modules
git reset -q --soft "$commit"
moving=moved
while [ "$files" -gt 0 ]; do
    spec=":(top,literal)${1#:(exclude,top,literal)}"
    shift
    set -- "$@" "${spec#:(top,literal)}"
    git reset -q "$commit" -- "$spec" >/dev/null
    files=$((files - 1))
done
# Files that stand for content since a time without git-lfs.
if git grep -q 'filter=lfs' "$commit" -- ':(glob)**/.gitattributes' 2>/dev/null && command -v git-lfs >/dev/null; then
    git lfs checkout </dev/null >/dev/null
fi

[ "$(git rev-parse HEAD)" = "$(git rev-parse "$commit^{commit}")" ] || { echo "HEAD is not the commit" >&2; exit 1; }
after=$(look "$@")
if [ "$before" != "$after" ]; then
    printf 'before:\n%s\nafter:\n%s\n' "$before" "$after" >&2
    exit 47
fi
printf '%s\n' "$after"
