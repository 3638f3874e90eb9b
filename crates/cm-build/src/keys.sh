# Says which keys the env files of a checkout set; `env_keys` is defined before.
# One fact a line, NAME=VALUE. Arguments: CHECKOUT FILES...
cd -- "$1" 2>/dev/null || exit 46
shift
printf 'head=%s\n' "$(git rev-parse HEAD 2>/dev/null)"
for file do
    if [ ! -e "$file" ]; then
        printf 'absent=%s\n' "$file"
    elif [ -f "$file" ] && [ -r "$file" ]; then
        env_keys "$file"
    else
        printf 'unreadable=%s\n' "$file"
    fi
done
