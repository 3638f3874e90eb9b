//! The archive format: what the real mongodump wrote is read; what is written here
//! reads back the same; and nothing damaged passes.

use cm_archive::codec::{Compressed, Packer};
use cm_archive::manifest::{Consistency, Deploy, Manifest, Server};
use cm_archive::verify::{Contents, read_back, read_documents};
use cm_archive::{Directory, Entry, Kind, Prelude, Writer, hex};
use proptest::prelude::*;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

fn golden(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    std::fs::read(path).expect("a file of tests/data")
}

/// Per namespace, the sorted documents' hash as tests/data/manifest.json has it.
fn hashes(file: &[u8]) -> (Contents, BTreeMap<String, String>) {
    let mut documents: BTreeMap<usize, Vec<Vec<u8>>> = BTreeMap::new();
    let contents = read_documents(file, |index, bytes| documents.entry(index).or_default().push(bytes.to_vec()));
    let contents = contents.expect("an intact archive");
    let mut hashes = BTreeMap::new();
    for (index, entry) in contents.prelude.entries.iter().enumerate().filter(|(_, entry)| entry.kind != Kind::View) {
        let mut documents = documents.remove(&index).unwrap_or_default();
        documents.sort();
        hashes.insert(entry.namespace(), hex(&Sha256::digest(documents.concat())));
    }
    (contents, hashes)
}

#[test]
fn what_mongodump_wrote_is_read_byte_for_byte() {
    let manifest: Value = serde_json::from_slice(&golden("manifest.json")).expect("JSON");
    for name in ["platform.archive", "platform.archive.gz", "all-databases.archive.gz"] {
        let (contents, hashes) = hashes(&golden(name));
        // The server's own database is in the archive, but not in the list of what is wanted.
        for (namespace, hash) in hashes.iter().filter(|(namespace, _)| !namespace.starts_with("admin.")) {
            let want = &manifest[namespace];
            assert_eq!(want["sha256_of_sorted_documents"], **hash, "{name}: {namespace}");
            let at = contents.prelude.entries.iter().position(|entry| entry.namespace() == *namespace).expect("there");
            assert_eq!(want["documents"], contents.totals[at].documents);
            assert_eq!(want["bytes"], contents.totals[at].bytes);
            let mut indexes = contents.namespaces()[at].indexes.clone();
            indexes.sort();
            assert_eq!(want["indexes"], serde_json::json!(indexes), "{name}: {namespace}");
        }
        let named = manifest.as_object().expect("object").keys().filter(|key| hashes.contains_key(*key)).count();
        assert_eq!(named, if name.starts_with("all") { 9 } else { 8 }, "{name}");
    }
}

/// The directory of mongodump as an archive, or why it is none.
fn directory(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Directory::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A copy of the directory that mongodump wrote, plain or with every file packed, for a test to damage.
fn copied_directory(packed: bool) -> tempfile::TempDir {
    let from = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/platform.dir/platform");
    let copy = tempfile::TempDir::new().expect("a directory");
    let to = copy.path().join("platform");
    std::fs::create_dir(&to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("listed") {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).expect("an entry");
        let (bytes, name) = (std::fs::read(path).expect("a file"), name.into_string().expect("UTF-8"));
        if packed {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            packer.write_all(&bytes).expect("packed");
            std::fs::write(to.join(format!("{name}.gz")), packer.finish().expect("packed")).expect("written");
        } else {
            std::fs::write(to.join(name), bytes).expect("written");
        }
    }
    copy
}

#[test]
fn a_directory_of_mongodump_is_the_archive_it_would_be() {
    let (archive, wanted) = hashes(&golden("platform.archive"));
    for packed in [false, true] {
        let copy = copied_directory(packed);
        // That of one database, and that of the whole dump.
        for path in [copy.path().join("platform"), copy.path().to_owned()] {
            let bytes = directory(&path).expect("whole");
            let (contents, found) = hashes(&bytes);
            assert_eq!(found, wanted);
            for entry in &contents.prelude.entries {
                let same = archive.prelude.entries.iter().find(|other| other.namespace() == entry.namespace());
                assert_eq!(same, Some(entry));
            }
            assert_eq!(contents.prelude.entries.len(), archive.prelude.entries.len());
            assert_eq!(contents.prelude.server_version, archive.prelude.server_version);
            assert!(bytes == directory(&path).expect("whole"), "the same directory gives other bytes");
        }
    }
}

#[test]
fn a_damaged_directory_is_no_backup() {
    let damaged = |packed: bool, damage: &dyn Fn(&Path)| {
        let copy = copied_directory(packed);
        damage(&copy.path().join("platform"));
        directory(&copy.path().join("platform")).expect_err("damaged").to_string()
    };
    let cut = |file: &'static str, by: usize| {
        move |dir: &Path| {
            let bytes = std::fs::read(dir.join(file)).expect("a file");
            std::fs::write(dir.join(file), &bytes[..bytes.len() - by]).expect("written");
        }
    };
    type Damage<'a> = &'a dyn Fn(&Path);
    let cases: [(bool, Damage<'_>, &str); 7] = [
        (false, &cut("users.bson", 1), "users.bson: it ends too early inside the document at byte"),
        (true, &cut("users.bson.gz", 30), "users.bson.gz: "),
        (
            true,
            &|dir| std::fs::write(dir.join("users.bson.gz"), "").expect("written"),
            "not compressed as its name says",
        ),
        (
            false,
            &|dir| std::fs::remove_file(dir.join("users.bson")).expect("removed"),
            "documents of platform.users are missing",
        ),
        (false, &|dir| std::fs::write(dir.join("users.metadata.json"), "{").expect("written"), "users.metadata.json: "),
        (
            false,
            &|dir| drop(std::fs::copy(dir.join("users.bson"), dir.join("users.bson.gz"))),
            "the same collection is there twice",
        ),
        (
            false,
            &|dir| std::fs::write(dir.join("x.bson"), [255; 9]).expect("written"),
            "claims to be 4294967295 bytes long",
        ),
    ];
    for (packed, damage, why) in cases {
        let found = damaged(packed, damage);
        assert!(found.contains(why), "{found:?} has no {why:?}");
    }
    assert!(directory(tempfile::TempDir::new().expect("a directory").path()).is_err());
}

/// mongodump keeps the buckets of a time series in a file of their own, and its options in another.
#[test]
fn a_time_series_in_a_directory_has_its_buckets() {
    let copy = copied_directory(false);
    let dir = copy.path().join("platform");
    let options =
        r#"{"options":{"timeseries":{"timeField":"t"}},"indexes":[],"collectionName":"s","type":"timeseries"}"#;
    std::fs::write(dir.join("s.metadata.json"), options).expect("written");
    std::fs::rename(dir.join("users.bson"), dir.join("system.buckets.s.bson")).expect("renamed");
    std::fs::remove_file(dir.join("users.metadata.json")).expect("removed");
    let bytes = directory(&dir).expect("whole");
    let contents = read_back(&bytes[..]).expect("intact");
    let series = contents.namespaces().into_iter().find(|one| one.kind == "timeseries").expect("announced");
    assert_eq!((series.collection.as_str(), series.documents > 0), ("s", true));
    let marker = b"system.buckets.s";
    assert!(bytes.windows(marker.len()).any(|window| window == marker));
    std::fs::remove_file(dir.join("system.buckets.s.bson")).expect("removed");
    assert!(directory(&dir).expect_err("no buckets").to_string().contains("platform.s are missing"));
}

#[test]
fn compression_is_told_from_the_bytes() {
    let compressed = |name| read_back(&golden(name)[..]).expect(name).compressed;
    assert_eq!(compressed("platform.archive"), Compressed::None);
    assert_eq!(compressed("platform.archive.gz"), Compressed::Gzip);
}

#[test]
fn a_view_is_announced_and_has_no_documents() {
    let contents = read_back(&golden("platform.archive")[..]).expect("intact");
    let views: Vec<_> = contents.namespaces().into_iter().filter(|namespace| namespace.kind == "view").collect();
    assert_eq!(views.len(), 1);
    assert_eq!((views[0].documents, views[0].crc.as_str()), (0, "0000000000000000"));
}

#[test]
fn a_dump_that_only_looks_whole_is_caught_by_a_manifest_alone() {
    let file = golden("cut-but-looks-whole.archive.gz");
    let contents = read_back(&file[..]).expect("nothing inside tells");
    assert!(contents.documents() < 10_000);
    let mut manifest = manifest_of(&contents);
    manifest.documents = 10_000;
    manifest.namespaces[0].documents = 10_000;
    assert_eq!(contents.differences(&manifest).len(), 2);
}

#[test]
fn an_archive_of_nothing_is_intact_and_empty() {
    let contents = read_back(&golden("no-such-database.archive")[..]).expect("intact");
    assert!(contents.prelude.entries.is_empty());
}

fn manifest_of(contents: &Contents) -> Manifest {
    Manifest {
        schema: "cm.backup/1".to_owned(),
        kind: "mongodb".to_owned(),
        service: None,
        file: "x.archive.gz".to_owned(),
        format: "mongodump-archive/0.1".to_owned(),
        compression: contents.compressed.as_str().to_owned(),
        bytes: contents.bytes,
        sha256: contents.sha256.clone(),
        database: "platform".to_owned(),
        server: Server::default(),
        consistency: Consistency::None,
        selection: None,
        users_and_roles: None,
        documents: contents.documents(),
        data_bytes: 0,
        started_at: String::new(),
        ended_at: String::new(),
        verified_at: String::new(),
        deploy: Deploy::default(),
        tool: String::new(),
        namespaces: contents.namespaces(),
        tables: Vec::new(),
        copy: None,
        not_verified: Vec::new(),
    }
}

#[test]
fn a_manifest_reads_back_and_agrees_with_its_file() {
    let contents = read_back(&golden("platform.archive.gz")[..]).expect("intact");
    let manifest = manifest_of(&contents);
    let read = Manifest::parse(manifest.to_text().as_bytes()).expect("valid");
    assert_eq!(read, manifest);
    assert_eq!(contents.differences(&read), Vec::<String>::new());
    let newer = manifest.to_text().replace("cm.backup/1", "cm.backup/2");
    assert!(Manifest::parse(newer.as_bytes()).is_err());
}

/// The places where the parts of a plain archive begin.
fn seams(file: &[u8]) -> Vec<usize> {
    let mut seams = vec![0];
    let mut at = 4;
    while at < file.len() {
        seams.push(at);
        let length = u32::from_le_bytes(file[at..at + 4].try_into().expect("four"));
        at += if length == u32::MAX { 4 } else { length as usize };
    }
    seams
}

#[test]
fn a_cut_at_any_seam_and_beside_it_is_noticed() {
    let file = golden("platform.archive");
    for seam in seams(&file) {
        for cut in [seam, seam + 1, seam + 3, seam + 5].into_iter().filter(|cut| *cut < file.len()) {
            assert!(read_back(&file[..cut]).is_err(), "cut at {cut} passed");
        }
    }
    let file = golden("platform.archive.gz");
    for cut in 0..file.len() {
        assert!(read_back(&file[..cut]).is_err(), "gzip cut at {cut} passed");
    }
}

#[test]
fn any_flipped_bit_of_a_compressed_archive_is_noticed_with_its_manifest() {
    let file = golden("platform.archive.gz");
    let manifest = manifest_of(&read_back(&file[..]).expect("intact"));
    for bit in (0..file.len() * 8).step_by(61) {
        let mut bad = file.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let passes = read_back(&bad[..]).is_ok_and(|contents| contents.differences(&manifest).is_empty());
        assert!(!passes, "bit {bit} passed");
    }
}

#[test]
fn trailing_bytes_are_noticed() {
    for name in ["platform.archive", "platform.archive.gz"] {
        for tail in [&b"\0"[..], b"\xff\xff\xff\xff", b"garbage that follows"] {
            let file = [golden(name), tail.to_vec()].concat();
            let manifest = manifest_of(&read_back(&golden(name)[..]).expect("intact"));
            let passes = read_back(&file[..]).is_ok_and(|contents| contents.differences(&manifest).is_empty());
            assert!(!passes, "{name} with {tail:?} passed");
        }
    }
}

/// One block or another part of the archive: from its head to after its terminator.
fn blocks(file: &[u8]) -> Vec<std::ops::Range<usize>> {
    let seams = seams(file);
    let ends: Vec<_> = seams.iter().filter(|at| file[**at..].starts_with(&[0xff; 4])).map(|at| at + 4).collect();
    ends.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

#[test]
fn a_lost_doubled_or_moved_block_is_noticed() {
    let file = golden("platform.archive");
    let manifest = manifest_of(&read_back(&file[..]).expect("intact"));
    let mut damaged = 0;
    for block in blocks(&file) {
        let lost = [&file[..block.start], &file[block.end..]].concat();
        let doubled = [&file[..block.end], &file[block.start..]].concat();
        let moved = [&file[..block.start], &file[block.end..], &file[block.clone()]].concat();
        for bad in [lost, doubled, moved].into_iter().filter(|bad| *bad != file) {
            let passes = read_back(&bad[..]).is_ok_and(|contents| contents.differences(&manifest).is_empty());
            assert!(!passes, "block {block:?}");
            damaged += 1;
        }
    }
    assert!(damaged > 50, "only {damaged} damaged archives were tried");
}

fn entry(name: &str, kind: Kind) -> Entry {
    Entry {
        db: "shop".to_owned(),
        collection: name.to_owned(),
        metadata: r#"{"indexes":[{"name":"_id_"}]}"#.to_owned(),
        kind,
        in_buckets: kind == Kind::Timeseries,
    }
}

fn prelude(entries: Vec<Entry>) -> Prelude {
    let text = |text: &str| text.to_owned();
    Prelude { server_version: text("7.0.0"), tool_version: text("t"), concurrent_collections: 2, entries }
}

/// A document with any bytes between its length and its final zero.
fn document(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 5).expect("small");
    [&length.to_le_bytes()[..], body, &[0]].concat()
}

fn write_all(prelude: &Prelude, batches: &[(usize, Vec<Vec<u8>>)]) -> Vec<u8> {
    let mut writer = Writer::start(Vec::new(), prelude).expect("prelude");
    for (index, documents) in batches {
        writer.documents(*index, documents.iter().map(|d| Ok(d.as_slice()))).expect("documents");
    }
    for index in 0..prelude.entries.len() {
        writer.close(index).expect("close");
    }
    writer.finish().expect("complete").0
}

fn batches() -> impl Strategy<Value = Vec<(usize, Vec<Vec<u8>>)>> {
    let documents = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200).prop_map(|b| document(&b)), 0..20);
    prop::collection::vec((0..4_usize, documents), 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn interleaved_collections_read_back_in_order(batches in batches(), pack in 0..3_usize) {
        let kinds = [Kind::Collection, Kind::View, Kind::Timeseries, Kind::Collection];
        let entries = kinds.iter().enumerate().map(|(n, kind)| entry(&format!("c {n}/é"), *kind)).collect();
        let prelude = prelude(entries);
        let mut file = write_all(&prelude, &batches);
        let mut packer = Packer::new(Vec::new(), [Compressed::None, Compressed::Gzip, Compressed::Zstd][pack]);
        packer.write_all(&file).expect("memory");
        file = packer.finish().expect("memory");
        let mut back = vec![Vec::new(); 4];
        let contents = read_documents(&file[..], |index, bytes| back[index].extend_from_slice(bytes)).expect("intact");
        let mut want = vec![Vec::new(); 4];
        for (index, documents) in &batches {
            want[*index].extend(documents.concat());
        }
        prop_assert_eq!(back, want);
        prop_assert_eq!(contents.bytes, file.len() as u64);
    }

    #[test]
    fn a_flipped_bit_in_the_documents_is_noticed(batches in batches(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let prelude = prelude((0..4).map(|n| entry(&n.to_string(), Kind::Collection)).collect());
        let file = write_all(&prelude, &batches);
        let manifest = manifest_of(&read_back(&file[..]).expect("intact"));
        let mut bad = file.clone();
        let at = at.index(bad.len());
        bad[at] ^= 1 << bit;
        let passes = read_back(&bad[..]).is_ok_and(|contents| contents.differences(&manifest).is_empty());
        prop_assert!(!passes);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _refused = read_back(&bytes[..]);
        let with_magic = [&[0x6d, 0xe2, 0x99, 0x81], &bytes[..]].concat();
        let _refused = read_back(&with_magic[..]);
        let with_gzip = [&[0x1f, 0x8b, 8, 0], &bytes[..]].concat();
        let _refused = read_back(&with_gzip[..]);
    }

    #[test]
    fn no_damage_makes_the_reader_panic(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut file = golden("platform.archive");
        for (at, byte) in edits {
            let at = at.index(file.len());
            file[at] = byte;
        }
        let _answer = read_back(&file[..]);
    }
}

#[test]
fn a_collection_that_was_not_read_to_its_end_makes_no_archive() {
    let prelude = prelude(vec![entry("a", Kind::Collection), entry("b", Kind::Collection)]);
    let mut writer = Writer::start(Vec::new(), &prelude).expect("prelude");
    let one = document(b"");
    writer.documents(0, [Ok(one.as_slice())]).expect("documents");
    writer.close(0).expect("close");
    let error = writer.finish().map(|_| ()).expect_err("b is open");
    assert!(error.to_string().contains("shop.b"), "{error}");
}

#[test]
fn what_the_format_cannot_hold_is_refused() {
    let prelude = prelude(vec![entry("a", Kind::Collection)]);
    let mut writer = Writer::start(std::io::sink(), &prelude).expect("prelude");
    let largest = document(&vec![0; (16 << 20) - 5]);
    writer.documents(0, [Ok(largest.as_slice())]).expect("16 MiB exactly");
    let too_large = document(&vec![0; (16 << 20) - 4]);
    let error = writer.documents(0, [Ok(too_large.as_slice())]).expect_err("too large");
    assert!(error.to_string().contains("16 MiB"), "{error}");
    writer.documents(0, [Ok(&b"\x05\0\0\0\x01"[..])]).expect_err("malformed");
}

#[test]
fn names_that_mongodump_cuts_are_found_by_their_metadata() {
    let home = tempfile::tempdir().expect("a directory");
    let dump = home.path().join("shop");
    std::fs::create_dir(&dump).expect("a directory");
    let document = bson::serialize_to_vec(&bson::doc! {"_id": 1}).expect("BSON");
    let hash = "A".repeat(27);
    // 208 bytes end within the letter, which takes two bytes and six of the file's name.
    let (name, series) = (format!("x{}", "ü".repeat(60)), "w".repeat(230));
    let escaped = format!("x{}", "%C3%BC".repeat(60));
    let file = |name: &str, end: &str, content: &[u8]| {
        std::fs::write(dump.join(format!("{}%24{hash}{end}", &name[..208])), content).expect("written");
    };
    let metadata = |name: &str, kind: &str| format!(r#"{{"indexes":[],"collectionName":"{name}","type":"{kind}"}}"#);
    file(&escaped, ".bson", &document);
    file(&escaped, ".metadata.json", metadata(&name, "collection").as_bytes());
    file(&format!("system.buckets.{series}"), ".bson", &document);
    file(&series, ".metadata.json", metadata(&series, "timeseries").as_bytes());
    let (contents, _) = hashes(&directory(&dump).expect("a dump"));
    let found: Vec<_> = contents.prelude.entries.iter().map(|entry| entry.collection.clone()).collect();
    assert_eq!(found, [series, name]);
    assert_eq!(contents.documents(), 2);
}

#[test]
fn what_would_take_all_memory_is_no_backup() {
    let entry = |metadata: String| Entry {
        db: "shop".to_owned(),
        collection: "orders".to_owned(),
        metadata,
        kind: Kind::Collection,
        in_buckets: false,
    };
    let prelude = |entries| Prelude {
        server_version: String::new(),
        tool_version: String::new(),
        concurrent_collections: 1,
        entries,
    };
    let read = |prelude: &Prelude| {
        let mut writer = Writer::start(Vec::new(), prelude).expect("started");
        for index in 0..prelude.entries.len() {
            writer.close(index).expect("closed");
        }
        read_back(&writer.finish().expect("whole").0[..])
    };
    let many_values =
        prelude(vec![entry(format!(r#"{{"options":{{"x":[{}1]}},"indexes":[]}}"#, "1,".repeat(400_000)))]);
    assert!(read(&many_values).expect_err("too many").to_string().contains("values are not those of a collection"));
    let mut many = Vec::new();
    for n in 0..100_000 {
        many.push(Entry { collection: format!("c{n}"), ..entry(String::new()) });
    }
    assert!(read(&prelude(many.clone())).expect_err("too many").to_string().contains("too long"));
    many.truncate(20_000);
    assert_eq!(read(&prelude(many)).expect("a large database").prelude.entries.len(), 20_000);
}
