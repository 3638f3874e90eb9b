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

# A server that many ask at once turns some away before it knows who they are. It takes them at the next try.
tries=3
while :; do
    status=0
    { errors=$({ GIT_TERMINAL_PROMPT=0 git ls-remote --exit-code -- "$from" "$3" </dev/null; } 2>&1 >&3 3>&-); } 3>&1 || status=$?
    tries=$((tries - 1))
    case $status:$errors in
    0:*) break ;;
    *kex_exchange_identification*) [ "$tries" -gt 0 ] || break ;;
    *) break ;;
    esac
    sleep 1
done
[ -z "$errors" ] || printf '%s\n' "$errors" >&2
exit "$status"
