# What a commit has that is not in its own repository: submodules, and content that a filter fetches.
# Each is brought here now, with this server's key, so that moving the checkout needs no network.

# Git in a repository whose work tree, if it names one, may be gone.
in_repository() { # GITDIR ARGUMENTS...
    repository=$1
    shift
    GIT_WORK_TREE=. git --git-dir="$repository" "$@"
}

gitlinks() { # GITDIR COMMIT - commit, TAB, path; none where nothing was fetched
    [ -e "$1/HEAD" ] || return 0
    in_repository "$1" ls-tree -r --full-tree "$2" | awk -F '\t' '$1 ~ /^160000 / { split($1, at, " "); print at[3] "\t" $2 }'
}

# A setting of the submodule at a path; its name is the section's.
module_name() { # GITDIR COMMIT PATH
    in_repository "$1" config --blob "$2:.gitmodules" --get-regexp '^submodule\..*\.path$' 2>/dev/null |
        module_path=$3 awk '{ end = ".path " ENVIRON["module_path"]; from = length($0) - length(end)
            if (from > 10 && substr($0, from + 1) == end) { print substr($0, 11, from - 10); exit } }'
}

# `../lib.git` is relative to where the repository itself comes from.
resolved() { # BASE URL
    base=${1%/} rest=$2 between=/
    case $rest in ./* | ../*) ;; *) base='' between='' ;; esac
    while :; do
        case $rest in
        ./*) rest=${rest#./} ;;
        ../*)
            rest=${rest#../}
            case $base in
            */*) base=${base%/*} ;;
            *) base=${base%:*} between=: ;;
            esac
            ;;
        *) break ;;
        esac
    done
    printf '%s%s%s\n' "$base" "$between" "$rest"
}

no_module() { # PATH WHY
    printf 'submodule %s: %s\n' "$1" "$2" >&2
    exit 50
}

make_module() { # GITDIR URL
    mkdir -p -- "$1" && git init -q --bare -- "$1" && git --git-dir="$1" config core.bare false &&
        git --git-dir="$1" config remote.origin.url "$2" &&
        git --git-dir="$1" config remote.origin.fetch '+refs/heads/*:refs/remotes/origin/*'
}

fetch_module() { # GITDIR SHA URL PATH
    whole "$1" "$2" && return
    [ -e "$1/HEAD" ] || make_module "$1" "$3" || no_module "$4" 'cannot be made'
    in_repository "$1" fetch -q --no-recurse-submodules -- "$3" '+refs/heads/*:refs/remotes/origin/*' </dev/null ||
        no_module "$4" "cannot be fetched from $3"
    whole "$1" "$2" ||
        in_repository "$1" fetch -q --no-recurse-submodules -- "$3" "$2" </dev/null || no_module "$4" "commit $2 is not in $3"
}

# What a move would overwrite in a submodule that is checked out.
edited_module() { # PATH
    [ -e "$1/.git" ] || return 0
    writable "$1" || unwritable "$1"
    git -C "$1" diff --name-only --no-renames --ignore-submodules=all HEAD 2>/dev/null | sed "s,^,endangered $1/,"
}

# Every submodule of a commit, and theirs.
modules() ( # GITDIR COMMIT PREFIX URL
    gitlinks "$1" "$2" | while IFS=$tab read -r sha path; do
        name=$(module_name "$1" "$2" "$path")
        case $name in
        '') no_module "$3$path" 'is in no .gitmodules of the commit' ;;
        /* | *..*) no_module "$3$path" "has no valid name ($name)" ;;
        esac
        said() { in_repository "$1" config --blob "$2:.gitmodules" --get "submodule.$name.$3"; }
        [ "$(said "$1" "$2" update)" != none ] || continue
        url=$(resolved "$4" "$(said "$1" "$2" url)")
        module=$1/modules/$name
        [ ! -d "$3$path/.git" ] || module=$3$path/.git
        fetch_module "$module" "$sha" "$url" "$3$path"
        edited_module "$3$path"
        filters "$module" "$sha" "$3$path/" "$url" || exit
        modules "$module" "$sha" "$3$path/" "$url" || exit
    done
)

# Without its filter, a file is checked out as what stands for its content.
filters() { # GITDIR COMMIT PREFIX REMOTE
    {
        in_repository "$1" grep -h -o -E '^[^#]*[[:space:]]filter=[^[:space:]]+' "$2" -- ':(glob)**/.gitattributes' 2>/dev/null
        grep -o -E '^[^#]*[[:space:]]filter=[^[:space:]]+' "$1/info/attributes" 2>/dev/null
    } | sed 's/.*filter=//' | sort -u | while IFS= read -r filter; do
        case $filter in
        lfs) large_files "$@" ;;
        *crypt* | strongbox)
            [ -n "$(git config --get "filter.$filter.smudge" || git config --get "filter.$filter.process")" ] ||
                { echo "$3.gitattributes wants the filter $filter, which is not set up here" >&2 && exit 51; }
            required "$filter" "$@"
            ;;
        *) required "$filter" "$@" ;;
        esac
    done
}

# One without which git checks out nothing, tried on a file that has it.
required() { # FILTER GITDIR COMMIT PREFIX
    [ "$(in_repository "$2" config --bool --get "filter.$1.required")" = true ] || return 0
    file=$(in_repository "$2" ls-tree -r --name-only --full-tree "$3" | in_repository "$2" check-attr --stdin filter | sed -n "s/: filter: $1\$//p" | head -n 1)
    [ -n "$file" ] && in_repository "$2" cat-file -e "$3:$file" 2>/dev/null || return 0
    said=$(in_repository "$2" cat-file --filters "$3:$file" 2>&1 >/dev/null </dev/null) && return
    said=$(printf '%s\n' "$said" | grep -v '^fatal: ' | tail -n 1)
    echo "$4$file has the filter $1, which fails here: ${said:-no command is set for it (filter.$1.smudge)}" >&2
    exit 51
}

pointer() { # GITDIR COMMIT - a file whose content is in Git LFS
    in_repository "$1" grep -l -I -e '^version https://git-lfs.github.com/spec/v1' "$2" -- 2>/dev/null | head -n 1 | sed 's/^[^:]*://'
}

no_large_files() { # PATH
    echo "$1 is in Git LFS, and git-lfs is not installed here" >&2
    exit 51
}

large_files() { # GITDIR COMMIT PREFIX REMOTE
    first=$(pointer "$1" "$2")
    [ -n "$first" ] || return 0
    git lfs version >/dev/null 2>&1 || no_large_files "$3$first"
    in_repository "$1" lfs fetch "$4" "$2" </dev/null >&2 || { echo "the content of $3$first cannot be fetched" >&2 && exit 51; }
}
