# The commit a branch is at on the remote of a checkout, or at a URL where there is none.
# Arguments: CHECKOUT REMOTE REFERENCE URL
LC_ALL=C
export LC_ALL
if [ -e "$1/.git" ]; then
    cd -- "$1" && from=$2
    git rev-parse --git-dir >/dev/null || exit 52
else
    from=$4
fi
[ -n "$from" ] || exit 46
GIT_TERMINAL_PROMPT=0 exec git ls-remote --exit-code -- "$from" "$3" </dev/null
