# Says which keys the env files of a checkout set; `env_keys` and `no_place` are defined before.
# One fact a line, NAME=VALUE. Arguments: CHECKOUT FILES...
# Where there is no checkout yet, the directory may be there all the same, with an env file in it.
there=yes
[ -e "$1/.git" ] || [ -z "$(no_place "$1")" ] || echo no-place=
cd -- "$1" 2>/dev/null || there=no
shift
[ "$there" = no ] || [ ! -e .git ] || printf 'head=%s\n' "$(git rev-parse -q --verify HEAD)"
absent() {
    case $1 in
    /*) [ ! -e "$1" ] ;;
    *) [ "$there" = no ] || [ ! -e "$1" ] ;;
    esac
}
for file do
    if absent "$file"; then
        printf 'absent=%s\n' "$file"
    elif [ -f "$file" ] && [ -r "$file" ]; then
        env_keys "$file"
    else
        printf 'unreadable=%s\n' "$file"
    fi
done
