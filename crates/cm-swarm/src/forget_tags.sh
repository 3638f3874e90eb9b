# Removes old images from the registry, by digest.
# $1 the registry, with the path in it if there is one, $2 what the tags of this project and Swarm end with. On stdin, lines:
# `repository PATH` whose tags are looked at, `keep ID` of an image that stays, its first 12 characters.
# Prints `gone NAME:TAG`, `shared NAME:TAG` for one that other tags name, too, and `refused CODE`, `silent WORDS` at the end.
set -u
umask 077
registry=${1%%/*} path=${1#"${1%%/*}"} mark=$2
command -v curl >/dev/null || { echo 'silent there is no curl on the manager'; exit 0; }
scratch=$(mktemp -d) || exit
trap 'rm -rf -- "$scratch"' EXIT
cat >"$scratch/wanted"

# What services run, or would be rolled back to by Swarm itself, also of other projects.
services=$(docker service ls -q) || exit
: >"$scratch/used"
[ -z "$services" ] || docker service inspect --format '{{.Spec.TaskTemplate.ContainerSpec.Image}}{{if .PreviousSpec}}
{{.PreviousSpec.TaskTemplate.ContainerSpec.Image}}{{end}}' $services >"$scratch/used" || exit

# The login of the deploy user, where it is in Docker's own file.
config=${DOCKER_CONFIG:-$HOME/.docker}/config.json
: >"$scratch/curl"
if [ -f "$config" ]; then
    tr -d ' \n\t' <"$config" | grep -oF -- "\"$registry\":{" >/dev/null &&
        tr -d ' \n\t' <"$config" | sed "s|.*\"$registry\":{||; s/}.*//" |
        sed -n 's/.*"auth":"\([A-Za-z0-9+/=]*\)".*/header = "Authorization: Basic \1"/p' >"$scratch/curl"
fi
ask() { curl -sS -m 20 -K "$scratch/curl" $loose "$@" 2>"$scratch/error"; }

# Without TLS only where the engine itself does so.
loose='' base=https://$registry
insecure=$(docker info --format '{{range .RegistryConfig.IndexConfigs}}{{if not .Secure}} {{.Name}} {{end}}{{end}}') || exit
case $insecure in *" $registry "*) loose=-k ;; esac
[ ! -f "/etc/docker/certs.d/$registry/ca.crt" ] || loose="$loose --cacert /etc/docker/certs.d/$registry/ca.crt"
if ! ask -o /dev/null "$base/v2/"; then
    case $insecure in *" $registry "*) base=http://$registry ;; esac
    ask -o /dev/null "$base/v2/" || { printf 'silent %s\n' "$(tr '\n' ' ' <"$scratch/error")"; exit 0; }
fi

# digest REPOSITORY TAG - what a tag names; fails where the registry does not say.
digest() {
    ask -I -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' \
        -H 'Accept: application/vnd.docker.distribution.manifest.list.v2+json' \
        -H 'Accept: application/vnd.oci.image.manifest.v1+json' -H 'Accept: application/vnd.oci.image.index.v1+json' \
        "$base/v2/$1/manifests/$2" >"$scratch/head" || return
    tr -d '\r' <"$scratch/head" | tr '[:upper:]' '[:lower:]' | sed -n 's/^docker-content-digest: *//p' | grep .
}

# of REPOSITORY - what of it nothing needs goes. A repository of which not everything is known stays as it is.
of() {
    code=$(ask -D "$scratch/links" -o "$scratch/list" -w '%{http_code}' "$base/v2/$1/tags/list?n=1000") ||
        { printf 'silent %s\n' "$(tr '\n' ' ' <"$scratch/error")"; exit 0; }
    case $code in 200) ;; 404) return ;; *) printf 'refused %s\n' "$code"; exit 0 ;; esac
    ! grep -qi '^link:' "$scratch/links" || { printf 'silent %s has more tags than it tells at once\n' "$1"; return; }
    tags=$(tr -d ' \n' <"$scratch/list" | sed -n 's/.*"tags":\[\([^]]*\)\].*/\1/p' | tr ',' '\n' | tr -d '"')
    old=
    for tag in $tags; do
        case $tag in cm-????????????"$mark") ;; *) continue ;; esac
        id=${tag#cm-} id=${id%"$mark"}
        grep -qxF "keep $id" "$scratch/wanted" || old="$old $tag"
    done
    [ -n "$old" ] || return 0
    : >"$scratch/named"
    for tag in $tags; do
        found=$(digest "$1" "$tag") || { printf 'silent %s:%s has no digest\n' "$1" "$tag"; return; }
        printf '%s %s\n' "$found" "$tag" >>"$scratch/named"
    done
    for tag in $old; do
        found=$(sed -n "s/ $tag\$//p" "$scratch/named")
        others=$(sed -n "s/^$found //p" "$scratch/named" | grep -vxF -- "$tag")
        if [ -n "$others" ] || grep -qF "@$found" "$scratch/used"; then
            printf 'shared %s:%s\n' "$1" "$tag"
            continue
        fi
        code=$(ask -o /dev/null -w '%{http_code}' -X DELETE "$base/v2/$1/manifests/$found") || code=000
        case $code in
        202 | 404) printf 'gone %s:%s\n' "$1" "$tag" ;;
        *) printf 'refused %s\n' "$code"; exit 0 ;;
        esac
    done
}

path=${path#/}
for repository in $(sed -n 's/^repository //p' "$scratch/wanted"); do of "${path:+$path/}$repository"; done
