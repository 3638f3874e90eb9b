# Git as a deployment needs it, whatever the configuration of this server says: the commit's bytes,
# no hook, no question, messages in English. Content that Git LFS keeps elsewhere is content, too.
LC_ALL=C GIT_TERMINAL_PROMPT=0 GIT_ATTR_NOSYSTEM=1 GIT_NO_REPLACE_OBJECTS=1
# What a commit names as a submodule is fetched, never run (`ext::`).
GIT_ALLOW_PROTOCOL=${GIT_ALLOW_PROTOCOL-file:git:http:https:ssh}
export LC_ALL GIT_TERMINAL_PROMPT GIT_ATTR_NOSYSTEM GIT_NO_REPLACE_OBJECTS GIT_ALLOW_PROTOCOL
unset GIT_LFS_SKIP_SMUDGE
tab=$(printf '\t')
# What went wrong with a fetch, of all that it said to FILE; not how far it was.
fetch_words() { # FILE
    tr '\r' '\n' <"$1" |
        grep -vE '^(remote: )?(Enumerating|Counting|Compressing|Receiving|Resolving|Unpacking|Updating) |^remote: Total |^$' || :
    rm -f -- "$1"
}
# Where a remote is, without a password and without a token in the place of a user.
fetched_from() { # REMOTE
    git remote get-url -- "$1" 2>/dev/null |
        sed 's,^\(https*://\)[^/@]*@,\1,; s,^\([a-z+]*://[^/@:]*\):[^/@]*@,\1@,; s/^/url /'
}
# Whether a commit is in a repository with all that it needs. One whose fetch had no room, or was killed, may be there
# without its files; a clone without the content of files has that elsewhere.
whole() { # GITDIR COMMIT
    git --git-dir="$1" cat-file -e "$2^{commit}" 2>/dev/null || return
    promised=
    [ -z "$(git --git-dir="$1" config --get-regexp '^remote\..*\.promisor$' true)" ] || promised=--exclude-promisor-objects
    git --git-dir="$1" rev-list --quiet --objects --ignore-missing $promised "$2" --not --all >/dev/null 2>&1
}
# Files that are there and that Git was told not to look at, by `git update-index`.
unwatched() { # PATHSPEC...
    git ls-files -v -- :/ "$@" | sed -n 's/^[a-zS] //p' | while IFS= read -r one; do
        [ ! -f "$one" ] || [ -L "$one" ] || printf '%s\n' "$one"
    done
}
# Line ends that only look different are nobody's change.
git_settings() { # AUTOCRLF
    GIT_CONFIG_PARAMETERS="'core.autocrlf=$1' 'core.eol=lf' 'core.symlinks=true' 'core.hooksPath=/dev/null'"
    GIT_CONFIG_PARAMETERS="$GIT_CONFIG_PARAMETERS 'core.attributesFile=/dev/null' 'core.fsmonitor=false' 'grep.patternType=basic'"
    GIT_CONFIG_PARAMETERS="$GIT_CONFIG_PARAMETERS 'core.quotePath=false' 'submodule.recurse=false' 'color.ui=false'"
    ! command -v git-lfs >/dev/null || GIT_CONFIG_PARAMETERS="$GIT_CONFIG_PARAMETERS \
'filter.lfs.clean=git-lfs clean -- %f' 'filter.lfs.smudge=git-lfs smudge -- %f' \
'filter.lfs.process=git-lfs filter-process' 'filter.lfs.required=true'"
    export GIT_CONFIG_PARAMETERS
}
