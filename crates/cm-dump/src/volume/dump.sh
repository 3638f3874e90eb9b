if [ "$stop" = stop ]; then
  halt
  printf '{"table": "files", "rows": %d}\n' "$(inside "$real" "$count" < /dev/null)"
else
  printf '%s\n' '{"not_verified": "files may be of several moments, and were not counted: nobody was stopped"}'
fi
echo
rc=0
inside "$real" 'exec tar --numeric-owner --exclude="./.cm_scratch_*" -cf - .' < /dev/null 2> "$work/said" || rc=$?
# Of what nobody holds still a file may change while it is read, which GNU tar says so.
if [ "$rc" = 1 ] && [ "$stop" != stop ] && ! grep -qv 'as we read it\|removed before we read it\|socket ignored' "$work/said"; then rc=0; fi
[ "$rc" = 0 ] || tail -n 5 "$work/said" >&2
resume
exit "$rc"
