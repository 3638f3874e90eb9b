# What keeps a checkout from being moved, one line each: blocked PATH, TAB, WHY; displaced FILE, TAB, PATH.

writable() { [ -w "$1" ] && [ -x "$1" ]; }

# The system's own word for it, and whose it is.
unwritable() { # DIRECTORY
    if tried=$(mktemp "$1/.cm-XXXXXX" 2>&1); then
        rm -f -- "$tried"
        return 0
    fi
    printf 'blocked %s\t%s (owner %s, mode %s)\n' "$1" "${tried##*: }" "$(stat -c %U -- "$1")" "$(stat -c %a -- "$1")"
}

# The repository itself: directories that an earlier `sudo git` made, locks that a killed git left.
blocked_repository() {
    git_directory=$(git rev-parse --git-dir) || return
    find "$git_directory" -type d -exec sh -c 'for one do [ -w "$one" ] && [ -x "$one" ] || printf "%s\n" "$one"; done' sh {} + |
        head -n 3 | while IFS= read -r one; do unwritable "$one"; done
    find "$git_directory/logs" "$git_directory/FETCH_HEAD" -type f -exec sh -c 'for one do [ -w "$one" ] || printf "blocked %s\tPermission denied\n" "$one"; done' sh {} + 2>/dev/null |
        head -n 3
    merge=$(git rev-parse --git-path MERGE_HEAD)
    if [ -e "$merge" ] || [ -n "$(git ls-files --unmerged | head -n 1)" ]; then
        printf 'blocked %s\ta merge was begun there, and is not ended\n' "$merge"
    fi
    # A power cut leaves such a file empty; without one, nothing was ever checked out.
    branch_file=$(git rev-parse --git-path "$(sed -n 's/^ref: //p' "$(git rev-parse --git-path HEAD)")")
    if [ -f "$branch_file" ] && ! git rev-parse -q --verify HEAD >/dev/null 2>&1; then
        printf 'blocked %s\tthe file is damaged and names no commit\n' "$branch_file"
    fi
    broken=$(git ls-files --unmerged 2>&1 >/dev/null) || printf 'blocked %s\t%s\n' "$(git rev-parse --git-path index)" "${broken##*: }"
    branch_lock=$(git symbolic-ref -q HEAD || echo HEAD)
    for one in index HEAD packed-refs shallow "$branch_lock"; do
        one=$(git rev-parse --git-path "$one.lock")
        # One that runs is done in a moment.
        for _ in 1 2 3; do [ ! -e "$one" ] || sleep 1; done
        [ ! -e "$one" ] || printf 'blocked %s\ta git that was killed left this lock, or one runs\n' "$one"
    done
}

# What moving to COMMIT writes or removes, and may not.
blocked_paths() { # COMMIT PATHSPEC...
    blocked_directories "$@"
    blocked_files "$@" | head -n 20
}

# Files that nobody may replace although their directory may be written: somebody else's in a sticky directory, and
# those that are set immutable.
blocked_files() { # COMMIT PATHSPEC...
    [ "$(id -u)" -ne 0 ] || return 0
    git diff --name-only --no-renames --ignore-submodules=all "$1" -- :/ "$@" 2>/dev/null | while IFS= read -r one; do
        case $one in */*) directory=./${one%/*} ;; *) directory=. ;; esac
        # Its owner's, by its mode writable, and yet not: immutable, whether or not there is an lsattr to say so.
        if [ -f "$one" ] && [ ! -L "$one" ] && [ -O "$one" ] && [ ! -w "$one" ] && [ -n "$(find "$one" -prune -perm -200)" ] && ! command -v lsattr >/dev/null; then
            printf 'blocked %s\tOperation not permitted (it cannot be written whatever its mode says: attributes)\n' "$one"
        fi
        if [ -k "$directory" ] && [ ! -O "$directory" ] && [ -e "$one" ] && [ ! -O "$one" ]; then
            printf 'blocked %s\tOperation not permitted (owner %s, in a sticky directory)\n' "$one" "$(stat -c %U -- "$one")"
        fi
    done
    command -v lsattr >/dev/null || return 0
    git diff -z --name-only --no-renames --ignore-submodules=all "$1" -- :/ "$@" 2>/dev/null |
        xargs -0 -r lsattr -d -- 2>/dev/null | while IFS=' ' read -r set one; do
        case $set in *[ia]*) printf 'blocked %s\tOperation not permitted (attributes %s)\n' "$one" "$set" ;; esac
    done
}

# The nearest directory that is there, of each of those paths.
blocked_directories() { # COMMIT PATHSPEC...
    git diff --name-only --no-renames --ignore-submodules=all "$1" -- :/ "$@" 2>/dev/null | sed 's,[^/]*$,,' | sort -u |
        while IFS= read -r one; do
            one=./$one
            while [ ! -d "$one" ] || [ "${one%/}" != "$one" ]; do one=${one%/*}; done
            printf '%s\n' "$one"
        done | sort -u | while IFS= read -r one; do
            writable "$one" || unwritable "$one"
            # Nothing leaves one that only grows.
            set=$(lsattr -d -- "$one" 2>/dev/null) || continue
            case ${set%% *} in
            *a*) printf 'blocked %s\tOperation not permitted (append-only)\n' "$one" ;;
            esac
        done
}

# A protected file goes with its directory, where that becomes a link, a file or a submodule; where a link leads to it, also with
# what the commit makes of that place.
displaced_files() { # COMMIT BASE FILE...
    commit=$1 base=$2 top=$(pwd -P)
    shift 2
    for file do
        [ -e "$file" ] || [ -L "$file" ] || continue
        displaced_by "$file" "$file"
        real=$(readlink -f -- "$file") || continue
        case $real in
        "$top/$file") ;;
        "$top"/*)
            real=${real#"$top/"}
            git diff --quiet --ignore-submodules=all "$base" "$commit" -- ":(top,literal)$real" || printf 'displaced %s\t%s\n' "$file" "$real"
            displaced_by "$file" "$real"
            ;;
        esac
    done
}

displaced_by() { # FILE PATH
    way=$2
    while [ "${way%/*}" != "$way" ]; do
        way=${way%/*}
        mode=$(git ls-tree "$commit" -- ":(top,literal)$way" | cut -d ' ' -f 1)
        was=$(git ls-tree "$base" -- ":(top,literal)$way" | cut -d ' ' -f 1)
        if [ -L "$way" ]; then
            [ "$mode" = 120000 ] && [ "$(git cat-file -p "$commit:$way")" = "$(readlink -- "$way")" ] && continue
            [ -z "$mode" ] && ! git ls-files --error-unmatch -- ":(literal)$way" >/dev/null 2>&1 && continue
        elif [ -d "$way" ]; then
            # What a submodule has goes with it.
            case $was:$mode in
            160000:160000) continue ;;
            160000:*) git -C "$way" ls-files --error-unmatch -- ":(top,literal)${2#"$way/"}" >/dev/null 2>&1 || continue ;;
            *:'' | *:040000) continue ;;
            esac
        fi
        printf 'displaced %s\t%s\n' "$1" "$way"
    done
}
