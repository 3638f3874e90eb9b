# Whether containers see the single files that are mounted into them. Such a mount is
# tied to the file's inode: once the file was replaced instead of rewritten, the
# container keeps the old one, and reloading it changes nothing. Reads only.
# Arguments: for each mount the container's id, its name, the path on the host and the
# path inside. Prints NAME PATH-INSIDE for each that differs.
while [ $# -ge 4 ]; do
    id=$1 name=$2 outside=$3 inside=$4
    shift 4
    if [ ! -f "$outside" ] || [ ! -r "$outside" ] || [ "$(stat -c %s -- "$outside")" -gt 1048576 ]; then continue; fi
    # An image without `cat` cannot be asked.
    seen=$(docker exec "$id" cat "$inside" 2>/dev/null && echo end) || continue
    [ "$seen" = "$(cat -- "$outside" && echo end)" ] || printf '%s %s\n' "$name" "$inside"
done
exit 0
