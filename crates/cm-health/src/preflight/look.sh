# Looks at a server before a deployment. One fact a line, NAME=VALUE; what cannot be
# found out is left out or has its reason under NAME-error. Reads only.
# Arguments: the checkout, what it is made from if there is none (may be empty), its remote, the
# env file in it (may be empty), the file that Compose reads variables from (may be empty), the protected files.
# `env_keys` and `no_place` are defined before.
LC_ALL=C GIT_NO_REPLACE_OBJECTS=1
export LC_ALL GIT_NO_REPLACE_OBJECTS
checkout=$1 origin=$2 remote=$3 env_file=$4 variables=$5
shift 5

newline='
'
fact() { # NAME COMMAND... - the first line it says, or why it failed
    name=$1
    shift
    if said=$("$@" 2>&1); then
        known=yes
        # More than one line: a warning or a wrapper's greeting may be among them.
        case $said in *"$newline"*) said=$("$@" 2>/dev/null) || : ;; esac
        printf '%s=%s\n' "$name" "$(printf '%s\n' "$said" | head -n 1)"
    else
        known=
        # The reason, without where to read more.
        fatal=$(printf '%s\n' "$said" | grep -m 1 '^fatal: ')
        said=${fatal:-$(printf '%s\n' "$said" | sed "/^$/d; /^See '/d; /^Run '/d" | tail -n 1)}
        printf '%s-error=%s\n' "$name" "$said"
    fi
}

room() { # NAME PATH - free and total KiB, free and total inodes
    printf '%s-kib=%s\n' "$1" "$(df -Pk -- "$2" 2>/dev/null | awk 'NR == 2 { print $4, $2 }')"
    printf '%s-inodes=%s\n' "$1" "$(df -Pi -- "$2" 2>/dev/null | awk 'NR == 2 { print $4, $2 }')"
}

readable() { # DIRECTORY REPOSITORY - whether it can be read from there; if not, why, in one line
    if said=$(GIT_TERMINAL_PROMPT=0 limited 20 git -C "$1" ls-remote -q -- "$2" HEAD 2>&1 </dev/null); then
        echo readable
    elif [ $? -eq 124 ]; then
        silent "$@" && false
    else
        printf '%s\n' "$said" | tr -d '\r' | sed '/^$/d; /^@*$/d; /^Warning: /d; /^Please make sure/d; /^and the repository/d' | paste -sd '|' | sed 's/|/; /g'
        false
    fi
}

silent() { # DIRECTORY REPOSITORY - why it did not answer
    url=$(git -C "$1" remote get-url "$2" 2>/dev/null) || url=$2
    name=$(printf '%s\n' "$url" | sed 's,^[a-z+]*://,,; s,^[^/@]*@,,; s,[:/].*,,')
    [ -z "$name" ] || ! command -v getent >/dev/null || limited 5 getent ahosts "$name" >/dev/null 2>&1 </dev/null
    if [ $? -eq 124 ]; then
        echo "no answer in 20 seconds: the name service does not answer there, looking up $name took longer than 5 seconds"
    else
        echo 'no answer in 20 seconds'
    fi
}

lacks() { # WORDS COMMAND... - what small systems have in a smaller form, tried
    words=$1
    shift
    "$@" >/dev/null 2>&1 </dev/null || printf 'lacks=%s\n' "$words"
}
knows() { # COMMAND... - whether it is not an option that it complains of
    ! "$@" 2>&1 | grep -q option
}
tools() {
    for tool in git awk sed xargs comm mktemp sha256sum stat setsid timeout; do lacks "$tool" command -v "$tool"; done
    lacks 'a /bin/sh that passes its files on to commands (dash, bash, busybox; no ksh)' sh -c 'exec 9</dev/null && sh -c ": <&9"'
    # Shared: somebody else may be looking at the same time.
    lacks 'flock (util-linux, or busybox)' flock -s -n /dev/null true
    lacks 'find -mmin and -exec {} +' find /dev/null -maxdepth 0 -mmin +0 -name none -exec true {} +
    lacks 'stat -c (coreutils, or busybox)' stat -c %U /
    lacks 'mv -T (coreutils, or busybox 1.34)' knows mv -T -- /dev/null/1 /dev/null/2
    lacks 'ln -T (coreutils, or busybox 1.34)' knows ln -T -- /dev/null/1 /dev/null/2
    # Whatever the settings there say, or fail to.
    lacks 'git 2.25 or later (git restore)' sh -c 'HOME=/ XDG_CONFIG_HOME=/ GIT_CONFIG_NOSYSTEM=1 git restore -h 2>&1 | grep -q -- --source'
}

engine() {
    case $(docker --version 2>/dev/null) in podman*) printf 'podman=%s\n' "$(docker --version 2>/dev/null)" ;; esac
    fact docker docker version --format '{{.Server.Version}}'
    [ -n "$known" ] || ! sudo -n docker version >/dev/null 2>&1 || echo docker-sudo=yes
    fact compose docker compose version --short
    [ -n "$known" ] || other_compose
    fact buildx docker buildx version
    root=$(docker info --format '{{.DockerRootDir}}' 2>/dev/null) || root=
    [ -d "$root" ] || root=/
    room docker-disk "$root"
}

other_compose() { # what there is of Compose that `docker compose` does not run
    broken=$(docker info --format '{{range .ClientInfo.Plugins}}{{if eq .Name "compose"}}{{.Path}}: {{.Err}}{{"\n"}}{{end}}{{end}}' 2>/dev/null | head -n 1)
    [ -z "$broken" ] || printf 'compose-broken=%s\n' "$broken"
    alone=$(command -v docker-compose) || return 0
    version=$(docker-compose version --short 2>/dev/null | head -n 1)
    printf 'compose-alone=%s %s\n' "${version:-?}" "$alone"
}

branch_of() { # CHECKOUT - by its own name, also where a tag has the same
    ref=$(git -C "$1" symbolic-ref -q HEAD) || { git -C "$1" rev-parse --abbrev-ref HEAD && return; } || return
    printf '%s\n' "${ref#refs/heads/}"
}

repository() {
    (cd -- "$checkout" 2>/dev/null && printf 'place=%s\n' "$(pwd -P)")
    if [ ! -e "$checkout/.git" ]; then
        printf 'no-checkout=%s\n' "$(absolute "$checkout")"
        why=$(no_place "$checkout")
        [ -z "$why" ] || printf 'no-place=%s\n' "$why"
        [ -z "$origin" ] ||
            fact origin readable . "$origin"
    else
        fact remote readable "$checkout" "$remote"
    fi
    # Made, and never moved: its deployment was ended in between.
    if [ -e "$checkout/.git" ] && git -C "$checkout" symbolic-ref -q HEAD >/dev/null 2>&1 && ! git -C "$checkout" rev-parse -q --verify HEAD >/dev/null 2>&1; then
        echo unborn=yes
    fi
    fact head git -C "$checkout" rev-parse HEAD
    fact branch branch_of "$checkout"
    git --no-optional-locks -C "$checkout" status --porcelain --untracked-files=no 2>/dev/null |
        head -n 50 | cut -c4- | while IFS= read -r path; do printf 'edited=%s\n' "$path"; done
}

# Each line is written at once, so that they may come in any order.
tools &
engine &
repository &
[ -d "$HOME" ] && [ -x "$HOME" ] || printf 'no-home=%s\n' "$HOME"
temporary=$(mktemp -d 2>&1) && rmdir -- "$temporary" || printf 'no-temporary=%s\n' "$temporary"
clock=$(date +%s.%N)
case $clock in '' | *. | *[!0-9.]*) clock=$(date +%s) ;; esac
printf 'clock=%s\n' "$clock"
[ -d "$checkout" ] && room checkout-disk "$checkout"
room home-disk "$HOME"
room temporary-disk "${TMPDIR:-/tmp}"
awk '/^MemAvailable:/ { print "memory-kib=" $2 }' /proc/meminfo 2>/dev/null

wait
if [ -n "$env_file" ]; then
    case $env_file in
    /*) ;;
    *) env_file=$checkout/$env_file ;;
    esac
    if [ -r "$env_file" ]; then
        fact env-file stat -L -c %a -- "$env_file"
        env_keys "$env_file"
    else
        printf 'env-file-error=not there, or not readable\n'
    fi
elif [ -n "$variables" ] && [ -r "$checkout/$variables" ]; then
    env_keys "$checkout/$variables"
fi
for path in "$@"; do
    if [ -e "$checkout/$path" ]; then printf 'protected=%s\n' "$path"; else printf 'protected-missing=%s\n' "$path"; fi
done
exit 0
