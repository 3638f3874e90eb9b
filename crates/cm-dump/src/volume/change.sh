# Moves all that is in the directory $1 to $2.
all='all() { for one in "$1"/* "$1"/.[!.]* "$1"/..?*; do
  case ${one#"$1"/} in .cm_*) continue ;; esac
  if [ -e "$one" ] || [ -L "$one" ]; then mv -- "$one" "$2/"; fi
done; }
'
# What a change that was interrupted has left is undone, or finished where all of the old files had left.
recover="$all"'for old in .cm_old_*; do
  [ -d "$old" ] || continue
  tag=${old#.cm_old_}
  if [ -e "$old.moved" ]; then all ".cm_scratch_$tag" . && became=finished; else all "$old" . && became=undone; fi
  rm -rf -- "$old" "$old.moved" ".cm_scratch_$tag"
  printf "{\"note\": \"a restore that was interrupted was %s\"}\n" "$became"
done
'
