# Removes the containers and volumes of a run that has died, starts who was stopped by it, and says what that was.
is_left() {
  of=${1#*.}
  [ "${1%%.*}" = "$(id -u)" ] && [ "$(birth "${of%.*}")" != "${of#*.}" ]
}
docker ps --all --no-trunc --filter "label=cm.helper=$project" --format '{{.ID}} {{.Label "cm.by"}}' > "$work/helpers"
while read -r id owner; do
  is_left "$owner" || continue
  docker rm --force "$id" > /dev/null 2>&1 < /dev/null || continue
  printf '{"note": "removed a container of a run that had died: %s"}\n' "$id"
done < "$work/helpers"
docker volume ls --filter "label=cm.helper=$project" --format '{{.Name}} {{.Label "cm.by"}}' > "$work/helpers"
while read -r name owner; do
  is_left "$owner" || continue
  docker volume rm "$name" > /dev/null 2>&1 < /dev/null || continue
  printf '{"note": "removed a volume of a run that had died: %s"}\n' "$name"
done < "$work/helpers"
docker ps --all --no-trunc --format '{{.ID}} {{.Names}}' > "$work/all"
for list in "$stopped"/*; do
  [ -f "$list" ] || continue
  exec 7< "$list"
  if command -v flock > /dev/null && ! flock -w 10 7; then continue; fi
  names='' left=''
  while IFS= read -r id; do
    name=$(sed -n "s/^$id //p" "$work/all")
    # One that was removed since has another in its place.
    [ -n "$name" ] || continue
    if docker start "$id" > /dev/null 2> "$work/said" < /dev/null; then
      names="$names $name"
    else
      left=yes
      printf '{"note": "%s was stopped for a backup that was interrupted, and does not start: %s"}\n' "$name" \
        "$(tail -n 1 "$work/said" | tr -d '"\\' | tr -cd '[:print:]')"
    fi
  done < "$list"
  [ -n "$left" ] || rm -f -- "$list"
  [ -z "$names" ] || printf '{"note": "started again, because a backup that was interrupted had stopped it:%s"}\n' "$names"
done
