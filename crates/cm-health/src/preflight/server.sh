# From here on it is the same for every project.
[ "$(id -u)" -eq 0 ] || {
    echo 'run it as root' >&2
    exit 1
}
step() { printf '== %s\n' "$*"; }

step 'git, Docker, Compose, buildx, and the commands that cm runs'
all_there() {
    for one in git docker sshd flock setsid find stat sha256sum awk; do command -v "$one" >/dev/null || return; done
    docker compose version >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1
}
# The first of these packages that this release has, in version 2 or later where it is Compose's.
first_of() {
    for one; do
        candidate=$(apt-cache policy "$one" | sed -n 's/^ *Candidate: //p')
        case $one:$candidate in
        *: | *:'(none)' | docker-compose:1.*) ;;
        *)
            echo "$one"
            return
            ;;
        esac
    done
}
if ! all_there && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    # shellcheck disable=SC2046
    apt-get install -q -y --no-install-recommends ca-certificates coreutils findutils git iptables openssh-server util-linux \
        $(command -v docker >/dev/null || { first_of docker-ce docker.io && first_of docker-ce-cli docker-cli; }) \
        $(docker compose version >/dev/null 2>&1 || first_of docker-compose-plugin docker-compose-v2 docker-compose) \
        $(docker buildx version >/dev/null 2>&1 || first_of docker-buildx-plugin docker-buildx)
elif ! all_there && command -v dnf >/dev/null; then
    # Untried. Fedora's own Docker is moby-engine.
    dnf install -y git openssh-server moby-engine docker-compose docker-buildx util-linux coreutils findutils
elif ! all_there && command -v apk >/dev/null; then
    # Untried.
    apk add git openssh docker docker-cli-compose docker-cli-buildx coreutils findutils util-linux shadow bash
fi
all_there || {
    echo 'Docker, Compose 2 or buildx is missing, and this release has no package of it. The repository of' >&2
    echo 'https://docs.docker.com/engine/install/ has it: add that, then run this again.' >&2
    exit 1
}

step "the deploy user $user"
# A password that fits nothing: a locked account would be refused with a key, too.
id "$user" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash --password '*' "$user"
getent group docker >/dev/null || groupadd --system docker
usermod -aG docker "$user"
home=$(getent passwd "$user" | cut -d : -f 6)
group=$(id -gn "$user")
own() { # MODE DIRECTORY...
    mode=$1
    shift
    for one; do
        # shellcheck disable=SC2088
        case $one in
        '~/'*) one=$home/${one#'~/'} ;;
        esac
        [ -d "$one" ] || install -d -o "$user" -g "$group" -m "$mode" -- "$one"
    done
}
own 700 "$home/.ssh" "$home/.local" "$home/.local/state"
[ -e "$home/.ssh/authorized_keys" ] || install -o "$user" -g "$group" -m 600 /dev/null "$home/.ssh/authorized_keys"
[ -e "$home/.ssh/id_ed25519" ] || su "$user" -s /bin/sh -c 'ssh-keygen -q -t ed25519 -N "" -f ~/.ssh/id_ed25519'

step "directories: $checkout $backups"
own 755 "$checkout"
[ -z "$backups" ] || own 700 "$backups"

step 'sshd: tunnels to what is not published, enough sessions'
if [ -d /etc/ssh/sshd_config.d ] && grep -qs '^Include /etc/ssh/sshd_config.d' /etc/ssh/sshd_config; then
    printf 'Match User %s\n    AllowTcpForwarding local\n    MaxSessions 10\n' "$user" >/etc/ssh/sshd_config.d/50-cm.conf
    mkdir -p /run/sshd
    sshd -t
    systemctl reload ssh 2>/dev/null || systemctl reload sshd 2>/dev/null || echo 'reload sshd by hand'
else
    echo 'see to it that for this user AllowTcpForwarding is "local" or "yes", and MaxSessions 2 or more'
fi
systemctl enable --now docker 2>/dev/null || echo 'see to it that Docker runs, also after a reboot'
timedatectl set-ntp true 2>/dev/null || echo 'see to it that a time service runs'

step 'what is left to do by hand'
echo "1. your public key into $home/.ssh/authorized_keys"
echo '2. this key as a deploy key of the repository, to read it:'
cat "$home/.ssh/id_ed25519.pub"
echo "3. as $user: ssh -T git@HOST of the repository, once, and compare the fingerprint"
[ -z "$env_file" ] || echo "4. the env file, as $user, with mode 600: $checkout/$env_file"
echo 'then, on the deploying machine: cm-health --preflight </dev/null'
