//! What a commit names and its own repository does not have: the repositories of submodules, and content that a filter
//! such as Git LFS keeps elsewhere.

use crate::failure::broken;
use crate::repository::Repository;
use cm_core::Result;
use git2::{ObjectType, Oid, TreeWalkMode, TreeWalkResult};

/// The line that stands for a file's content in Git LFS.
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1";

/// No pointer is longer, in bytes.
const LONGEST_POINTER: usize = 1_024;

/// The files of a commit that say what it has elsewhere.
#[derive(Default)]
struct Said {
    /// `.gitmodules`, every `.gitattributes`, and one file whose content is in Git LFS.
    files: Vec<(Vec<u8>, Vec<u8>)>,
    /// The submodules and their commits.
    links: Vec<(Vec<u8>, Oid)>,
}

impl Repository {
    /// A commit of nothing but what says which content `commit` has elsewhere, for `git fast-import`; `None` where all of
    /// it is in this repository.
    ///
    /// # Errors
    /// [`cm_core::Exit::Detect`] if the objects are not all here.
    pub fn elsewhere(&self, commit: Oid) -> Result<Option<Vec<u8>>> {
        let tree = self.git.find_commit(commit).and_then(|commit| commit.tree()).map_err(broken)?;
        let mut said = Said::default();
        let mut pointers = Vec::new();
        let walked = tree.walk(TreeWalkMode::PreOrder, |directory, entry| {
            let path = [directory.as_bytes(), entry.name_bytes()].concat();
            match entry.kind() {
                Some(ObjectType::Commit) => said.links.push((path, entry.id())),
                Some(ObjectType::Blob) if path == b".gitmodules" || entry.name_bytes() == b".gitattributes" => {
                    let content = self.git.find_blob(entry.id()).map(|blob| blob.content().to_vec());
                    said.files.push((path, content.unwrap_or_default()));
                }
                Some(ObjectType::Blob) => pointers.push((path, entry.id())),
                _ => {}
            }
            TreeWalkResult::Ok
        });
        walked.map_err(broken)?;
        let names = |word: &[u8]| said.files.iter().any(|(_, text)| text.windows(word.len()).any(|part| part == word));
        if said.links.is_empty() && !names(b"filter=") {
            return Ok(None);
        }
        if names(b"filter=lfs") {
            said.files.extend(self.first_pointer(&pointers));
        }
        Ok(Some(stream(&said)))
    }

    fn first_pointer(&self, files: &[(Vec<u8>, Oid)]) -> Option<(Vec<u8>, Vec<u8>)> {
        let objects = self.git.odb().ok()?;
        let small =
            files.iter().filter(|(_, id)| objects.read_header(*id).is_ok_and(|(size, _)| size <= LONGEST_POINTER));
        let mut contents =
            small.filter_map(|(path, id)| Some((path, self.git.find_blob(*id).ok()?.content().to_vec())));
        contents.find(|(_, content)| content.starts_with(POINTER)).map(|(path, content)| (path.clone(), content))
    }
}

fn stream(said: &Said) -> Vec<u8> {
    let mut stream = b"commit refs/heads/coming\ncommitter cm <cm@localhost> 0 +0000\ndata 0\n".to_vec();
    for (path, id) in &said.links {
        stream.extend([format!("M 160000 {id} ").as_bytes(), &quoted(path), b"\n"].concat());
    }
    for (path, content) in &said.files {
        stream.extend([b"M 100644 inline ", &*quoted(path), format!("\ndata {}\n", content.len()).as_bytes()].concat());
        stream.extend([content.as_slice(), b"\n"].concat());
    }
    stream.extend(b"done\n");
    stream
}

/// A path as fast-import reads it.
fn quoted(path: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'"'];
    for byte in path {
        match byte {
            b'"' | b'\\' => quoted.extend([b'\\', *byte]),
            b'\n' => quoted.extend(b"\\n"),
            _ => quoted.push(*byte),
        }
    }
    quoted.push(b'"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn what_a_commit_has_elsewhere_is_said_and_nothing_else() {
        let directory = tempfile::tempdir().expect("directory");
        let run = |line: &str| {
            let shell = Command::new("sh").current_dir(&directory).args(["-ec", line]).output().expect("sh");
            assert!(shell.status.success(), "{line}: {shell:?}");
            String::from_utf8_lossy(&shell.stdout).trim().to_owned()
        };
        run(
            "git init -q . && git config user.name a && git config user.email a@x && echo 1 >plain && git add -A && git commit -qm one",
        );
        let of = |revision: &str| {
            let repository = Repository::open(directory.path()).expect("a repository");
            let commit = repository.commit(revision).expect("a commit");
            repository.elsewhere(commit).expect("read").map(|stream| String::from_utf8(stream).expect("text"))
        };
        assert_eq!(of("HEAD"), None);
        let id = run("git rev-parse HEAD");
        run(&format!("git update-index --add --cacheinfo 160000,{id},'lib \"a' && git commit -qm two"));
        let stream = of("HEAD").expect("a submodule");
        assert!(stream.contains(&format!("M 160000 {id} \"lib \\\"a\"\n")) && !stream.contains("plain"), "{stream}");
        run(
            "git rm -q --cached 'lib \"a' && mkdir img && echo '*.png filter=lfs' >img/.gitattributes && git add -A && git commit -qm three",
        );
        assert!(!of("HEAD").expect("a filter").contains("png\"\ndata"));
        run(
            "printf 'version https://git-lfs.github.com/spec/v1\\noid sha256:0\\nsize 1\\n' >img/a.png && git -c filter.lfs.clean=cat -c filter.lfs.process= -c filter.lfs.required=false add -A && git commit -qm four",
        );
        let stream = of("HEAD").expect("a pointer");
        assert!(stream.contains("\"img/.gitattributes\"") && stream.contains("\"img/a.png\""), "{stream}");
        // Git takes it.
        std::fs::write(directory.path().join("stream"), &stream).expect("written");
        run(
            "git init -q --bare other && git -C other fast-import --quiet --done <stream && git -C other ls-tree -r coming | grep -q a.png",
        );
    }
}
