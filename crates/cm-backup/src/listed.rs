//! What stands in a directory of backups, as its host lists it.

use cm_archive::manifest::{self, Manifest};
use cm_core::facts::CopyState;
use std::collections::{BTreeMap, BTreeSet};

/// `$1` directory. Records that end with a zero byte: files as `SIZE NAME`, manifests, and what became of copies.
pub const LIST: &str = r#"# Lists the backups.
set -eu
[ -d "$1" ] || exit 44
cd -- "$1"
find . -maxdepth 1 -type f -exec sh -c 'for one do printf "%s %s\0" "$(stat -c %s -- "$one")" "${one#./}"; done' sh {} +
for manifest in ./*.manifest.json; do
  if [ -f "$manifest" ]; then cat -- "$manifest"; printf '\0'; fi
done
for copy in ./*.copy ./*.copy.partial; do
  [ -f "$copy" ] || continue
  name=${copy#./}
  printf 'copy %s\n' "${name%.partial}"
  case $copy in
    *.copy) cat -- "$copy" ;;
    *) if command -v flock > /dev/null && flock -n "$copy" true; then echo 'state interrupted'; else echo 'state running'; cat -- "$copy"; fi ;;
  esac
  printf '\0'
done"#;

/// One file of a listing.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its length, in bytes.
    pub bytes: u64,
    /// Its manifest, if one names it.
    pub manifest: Option<Manifest>,
    /// What became of its copy elsewhere, if one was begun.
    pub copy: Option<CopyState>,
}

/// Reads what [`LIST`] says.
pub fn parse(bytes: &[u8]) -> Vec<Listed> {
    let records: Vec<_> = bytes.split(|byte| *byte == 0).filter(|record| !record.is_empty()).collect();
    let manifests: Vec<_> = records.iter().filter_map(|record| Manifest::parse(record).ok()).collect();
    let copies: BTreeMap<_, _> = records.iter().filter_map(|record| parse_copy(record)).collect();
    let files = records.iter().filter_map(|record| parse_file(record, &manifests));
    let with_copy = |file: Listed| Listed { copy: copies.get(&file.name).cloned(), ..file };
    let mut files: Vec<_> = files.map(with_copy).collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

/// Backups that were removed, and whose copies elsewhere could not be, by what [`LIST`] says: what was noted of them is
/// there still.
pub fn parse_gone(bytes: &[u8]) -> Vec<Listed> {
    let records: Vec<_> = bytes.split(|byte| *byte == 0).filter(|record| !record.is_empty()).collect();
    let manifests: Vec<_> = records.iter().filter_map(|record| Manifest::parse(record).ok()).collect();
    let there: BTreeSet<_> =
        records.iter().filter_map(|record| parse_file(record, &manifests)).map(|file| file.name).collect();
    let copies = records.iter().filter_map(|record| parse_copy(record)).filter(|(name, _)| !there.contains(name));
    let gone = copies.filter_map(|(name, copy)| {
        let manifest = manifests.iter().find(|manifest| manifest.file == name)?.clone();
        Some(Listed { name, bytes: 0, manifest: Some(manifest), copy: Some(copy) })
    });
    gone.collect()
}

fn parse_file(record: &[u8], manifests: &[Manifest]) -> Option<Listed> {
    let text = std::str::from_utf8(record).ok()?;
    let (bytes, name) = text.split_once(' ')?;
    let bytes = bytes.parse().ok()?;
    if [manifest::SUFFIX, ".copy", ".copy.partial"].iter().any(|suffix| name.ends_with(suffix)) {
        return None;
    }
    let manifest = manifests.iter().find(|manifest| manifest.file == name).cloned();
    Some(Listed { name: name.to_owned(), bytes, manifest, copy: None })
}

/// The name of a backup, and what became of its copy.
fn parse_copy(record: &[u8]) -> Option<(String, CopyState)> {
    let text = String::from_utf8_lossy(record);
    let (name, state) = text.strip_prefix("copy ")?.split_once('\n')?;
    Some((name.strip_suffix(".copy")?.to_owned(), CopyState::parse(state)))
}
