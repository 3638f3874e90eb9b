# The commit a branch is at on the remote of a checkout, or at a URL where there is none.
# Arguments: CHECKOUT REMOTE REFERENCE URL
if [ -e "$1/.git" ]; then
    cd -- "$1" && from=$2
else
    from=$4
fi
[ -n "$from" ] || exit 46
GIT_TERMINAL_PROMPT=0 exec git ls-remote --exit-code -- "$from" "$3" </dev/null
