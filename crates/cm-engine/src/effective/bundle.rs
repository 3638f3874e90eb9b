//! What is sent along with the question: the files of each version in one compressed tar, as
//! text, so that it fits into the request itself.

use super::Question;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cm_core::{Failure, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// The key under which the answer has the variables' values.
pub const VARIABLES: &str = "x-cm-variables";

/// Bytes of a tar's block.
const BLOCK: usize = 512;

/// The question's files as a base64 text.
pub fn pack(question: &Question) -> Result<String> {
    packed(question).map_err(|error| Failure::bug("files for Compose cannot be packed").cause(error))
}

fn packed(question: &Question) -> io::Result<String> {
    let mut archive = Archive(GzEncoder::new(Vec::new(), Compression::default()));
    archive.add("variables.yml", variables(question).as_bytes())?;
    for (number, version) in question.versions.iter().enumerate() {
        archive.directory(&number.to_string())?;
        let gone: String = version.gone.iter().map(|path| format!("{path}\n")).collect();
        archive.add(&format!("gone.{number}"), gone.as_bytes())?;
        for (path, content) in &version.files {
            archive.add(&format!("{number}/{path}"), content)?;
        }
        for path in &version.gone {
            archive.add(&format!("{number}/{path}"), b"")?;
        }
    }
    Ok(STANDARD.encode(archive.finish()?))
}

/// A compose file that says of each variable whether it is set, and its value where that may be known.
fn variables(question: &Question) -> String {
    let asked = |name: &String| (name.clone(), json!([format!("${{{name}+set}}"), format!("${{{name}-}}")]));
    let alone = |name: &String| (name.clone(), json!([format!("${{{name}+set}}")]));
    let secrets = question.secrets.difference(&question.variables);
    let asked: Map<String, Value> = question.variables.iter().map(asked).chain(secrets.map(alone)).collect();
    json!({VARIABLES: asked}).to_string()
}

/// A tar of regular files and directories; longer names than the old header holds are written as
/// every tar reads them.
struct Archive<W: Write>(GzEncoder<W>);

impl<W: Write> Archive<W> {
    fn add(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        self.entry(path, b'0', content)
    }

    fn directory(&mut self, path: &str) -> io::Result<()> {
        self.entry(&format!("{path}/"), b'5', b"")
    }

    fn entry(&mut self, path: &str, kind: u8, content: &[u8]) -> io::Result<()> {
        if path.len() > 100 {
            self.block("././@LongLink", b'L', &[path.as_bytes(), b"\0"].concat())?;
        }
        self.block(path, kind, content)
    }

    fn block(&mut self, path: &str, kind: u8, content: &[u8]) -> io::Result<()> {
        let mut header = [0u8; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &path.as_bytes()[..path.len().min(100)]);
        put(100, if kind == b'5' { b"0000700\0" } else { b"0000600\0" });
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{:011o}\0", content.len()).as_bytes());
        put(136, b"00000000000\0");
        put(148, b"        ");
        put(156, &[kind]);
        put(257, b"ustar  \0");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.write_all(&header)?;
        self.0.write_all(content)?;
        let rest = content.len() % BLOCK;
        if rest > 0 { self.0.write_all(&vec![0; BLOCK - rest]) } else { Ok(()) }
    }

    fn finish(mut self) -> io::Result<W> {
        self.0.write_all(&[0; 2 * BLOCK])?;
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effective::Version;
    use std::process::{Command, Stdio};

    #[test]
    fn a_tar_there_reads_what_was_packed() {
        let long = format!("{}/compose.yml", "deep/".repeat(30).trim_end_matches('/'));
        let mut version = Version::default();
        version.files.insert(long.clone(), b"services: {}\n".to_vec());
        version.files.insert("a b/\u{e9}.env".to_owned(), vec![b'x'; 1024]);
        version.gone.insert("old.env".to_owned());
        let question = Question {
            versions: vec![version],
            variables: ["TAG".to_owned()].into(),
            secrets: ["KEY".to_owned(), "TAG".to_owned()].into(),
        };
        let dir = tempfile::tempdir().expect("dir");
        let mut child = Command::new("sh")
            .args(["-c", "base64 -d | tar -xzf -"])
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh");
        child.stdin.take().expect("stdin").write_all(pack(&question).expect("packed").as_bytes()).expect("write");
        assert!(child.wait().expect("end").success());
        let read = |path: &str| std::fs::read(dir.path().join(path)).expect(path);
        assert_eq!(read(&format!("0/{long}")), b"services: {}\n");
        assert_eq!(read("0/a b/\u{e9}.env").len(), 1024);
        assert_eq!((read("0/old.env"), read("gone.0")), (Vec::new(), b"old.env\n".to_vec()));
        assert_eq!(
            read("variables.yml"),
            br#"{"x-cm-variables":{"TAG":["${TAG+set}","${TAG-}"],"KEY":["${KEY+set}"]}}"#
        );
    }
}
