# Looks at a server before a deployment. One fact a line, NAME=VALUE; what cannot be
# found out is left out or has its reason under NAME-error. Reads only.
# Arguments: the checkout, the env file in it (may be empty), the protected files.
# `env_keys` is defined before.
checkout=$1 env_file=$2
shift 2

fact() { # NAME COMMAND... - the first line it says, or why it failed
    name=$1
    shift
    if said=$("$@" 2>&1); then
        printf '%s=%s\n' "$name" "$(printf '%s\n' "$said" | head -n 1)"
    else
        # The reason, without where to read more.
        said=$(printf '%s\n' "$said" | sed "/^$/d; /^See '/d; /^Run '/d" | tail -n 1)
        printf '%s-error=%s\n' "$name" "$said"
    fi
}

room() { # NAME PATH - free and total KiB, free and total inodes
    printf '%s-kib=%s\n' "$1" "$(df -Pk -- "$2" 2>/dev/null | awk 'NR == 2 { print $4, $2 }')"
    printf '%s-inodes=%s\n' "$1" "$(df -Pi -- "$2" 2>/dev/null | awk 'NR == 2 { print $4, $2 }')"
}

printf 'clock=%s\n' "$(date +%s.%N)"
fact docker docker version --format '{{.Server.Version}}'
fact compose docker compose version --short
root=$(docker info --format '{{.DockerRootDir}}' 2>/dev/null) || root=
[ -d "$root" ] || root=/
room docker-disk "$root"
[ -d "$checkout" ] && room checkout-disk "$checkout"
awk '/^MemAvailable:/ { print "memory-kib=" $2 }' /proc/meminfo 2>/dev/null

fact head git -C "$checkout" rev-parse HEAD
fact branch git -C "$checkout" rev-parse --abbrev-ref HEAD
git --no-optional-locks -C "$checkout" status --porcelain --untracked-files=no 2>/dev/null |
    head -n 50 | cut -c4- | while IFS= read -r path; do printf 'edited=%s\n' "$path"; done

if [ -n "$env_file" ]; then
    if [ -r "$checkout/$env_file" ]; then
        fact env-file stat -c %a -- "$checkout/$env_file"
        env_keys "$checkout/$env_file"
    else
        printf 'env-file-error=not there, or not readable\n'
    fi
fi
for path in "$@"; do
    if [ -e "$checkout/$path" ]; then printf 'protected=%s\n' "$path"; else printf 'protected-missing=%s\n' "$path"; fi
done
exit 0
