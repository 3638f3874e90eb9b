//! The files of a commit that Compose reads, to be sent along with the question.

use cm_core::Result;
use cm_engine::effective::{Question, Version};
use cm_git::{CommitTree, Oid, Repository};
use cm_project::compose::Compose;
use cm_project::{Project, template, tree};
use std::collections::{BTreeMap, BTreeSet};

/// More commits of one host than this are not asked about: what runs them is judged by its hash.
const MAX_BASES: usize = 4;

/// A larger file that only stands alongside is none that Compose reads, in bytes. One that is named is read, however large.
const MAX_FILE: usize = 512 << 10;

/// The modes of Git.
const SUBMODULE: i32 = 0o160_000;
const LINK: i32 = 0o120_000;

/// Variables that decide what Compose does, whatever the files say.
const OWN_VARIABLES: [&str; 2] = ["COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME"];

/// The question to one host, and which version stands for which commit.
pub struct Asking {
    /// The question.
    pub question: Question,
    /// The number of each commit's version; 0 is the one that is to run.
    pub versions: BTreeMap<Oid, usize>,
}

impl Asking {
    /// The question about `head` and the commits `bases`.
    ///
    /// # Errors
    /// [`cm_core::Exit::Detect`] if the repository cannot be read.
    pub fn of(repository: &Repository, project: &Project, head: Oid, bases: &[Oid]) -> Result<Self> {
        let others = bases.iter().copied().filter(|base| *base != head).take(MAX_BASES);
        let commits: Vec<Oid> = std::iter::once(head).chain(others).collect();
        let trees = commits.iter().map(|id| repository.tree(*id)).collect::<Result<Vec<_>>>()?;
        let mut paths = BTreeMap::new();
        for (number, tree) in trees.iter().enumerate() {
            let was = (number > 0).then(|| project.read_compose(tree).ok()).flatten();
            candidates(project, was.as_ref().unwrap_or(&project.compose), tree, &mut paths);
        }
        let protected = project.protected();
        paths.retain(|path, _| !protected.iter().any(|file| tree::is_within(path.as_bytes(), file)));
        let read: Vec<BTreeMap<String, Vec<u8>>> = trees.iter().map(|tree| read(tree, &paths)).collect();
        let known: BTreeSet<&String> = read.iter().flat_map(BTreeMap::keys).collect();
        let mut asking = Asking {
            question: Question {
                versions: Vec::new(),
                variables: variables(&project.compose),
                secrets: secrets(&project.compose),
            },
            versions: BTreeMap::new(),
        };
        for (id, files) in commits.iter().zip(&read) {
            let gone = known.iter().filter(|path| !files.contains_key(**path)).map(|path| (*path).clone()).collect();
            let version = Version { files: files.clone(), gone };
            let number = asking.question.versions.iter().position(|known| *known == version).unwrap_or_else(|| {
                asking.question.versions.push(version);
                asking.question.versions.len() - 1
            });
            asking.versions.insert(*id, number);
        }
        Ok(asking)
    }
}

/// Everything that Compose may read for `compose`: its files and what they name, and what stands
/// alongside them under a name that a variable may lead to. Each with the bytes that it may have.
fn candidates(project: &Project, compose: &Compose, tree: &CommitTree, paths: &mut BTreeMap<String, usize>) {
    let mut named: BTreeSet<String> = compose.files.iter().cloned().collect();
    named.extend(project.compose_files());
    named.extend(project.variable_files());
    named.extend(compose.include_env_files.iter().cloned());
    let mut directories: BTreeSet<String> = compose.files.iter().map(|file| tree::parent(file).to_owned()).collect();
    directories.insert(project.prefix.clone());
    for service in &compose.services {
        let places = service.env_files.iter().map(|file| &file.place).chain(&service.label_files);
        for path in places.filter_map(|place| place.inside()) {
            match path.split_once("${") {
                Some((head, _)) => {
                    directories.insert(tree::parent(head).to_owned());
                }
                None => {
                    named.insert(path.to_owned());
                }
            }
        }
    }
    let read = |name: &str| name.contains(".env") || [".yml", ".yaml"].iter().any(|end| name.ends_with(end));
    for directory in directories {
        let names = tree.names(&directory).into_iter().filter(|name| read(name));
        for name in names {
            paths.entry(tree::join(&directory, &name)).or_insert(MAX_FILE);
        }
    }
    paths.extend(named.into_iter().map(|path| (path, usize::MAX)));
}

/// Whether a checkout of the commit has something at `path`, or may have: what is below a submodule or a link is not
/// known here.
pub fn brings(tree: &CommitTree, path: &str) -> bool {
    let above = std::iter::successors(Some(tree::parent(path)), |path| Some(tree::parent(path)));
    let modes = above.take_while(|path| !path.is_empty()).filter_map(|path| tree.stands(path));
    tree.stands(path).is_some() || modes.into_iter().any(|(mode, _)| [SUBMODULE, LINK].contains(&mode))
}

fn read(tree: &CommitTree, paths: &BTreeMap<String, usize>) -> BTreeMap<String, Vec<u8>> {
    let content = |path, most| tree::read(tree, path).ok().flatten().filter(|content: &Vec<u8>| content.len() <= most);
    paths.iter().filter_map(|(path, most)| Some((path.clone(), content(path, *most)?))).collect()
}

/// The variables whose values are those of secrets and configs, as far as Compose takes such names.
fn secrets(compose: &Compose) -> BTreeSet<String> {
    let is_name = |name: &&String| {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(is_word)
    };
    compose.resource_variables.iter().filter(is_name).cloned().collect()
}

/// The variables that the compose files name.
fn variables(compose: &Compose) -> BTreeSet<String> {
    let named = compose.templates.iter().filter_map(|template| template::wanted(&template.text, &|_| false).ok());
    let named = named.flatten().map(|wanted| wanted.name);
    let own = OWN_VARIABLES.iter().map(|name| (*name).to_owned());
    // Compose sets the working directory itself, to where it was asked.
    named.chain(own).filter(|name| name != "PWD").collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::process::Command;

    fn git(directory: &Path, arguments: &[&str]) {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@t"]).args(arguments).current_dir(directory);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
        assert!(command.output().expect("git").status.success(), "{arguments:?}");
    }

    #[test]
    fn what_compose_reads_is_sent_however_large_and_what_only_stands_alongside_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let large = format!("# {}\n", "x".repeat(MAX_FILE));
        let compose = "services:\n  web: {image: web, env_file: [named.env]}\ninclude: [included.yml]\n";
        for (name, text) in [
            ("cm.toml", "[compose]\nfiles = [\"compose.yml\"]\n".to_owned()),
            ("compose.yml", format!("{compose}{large}")),
            ("included.yml", format!("services: {{db: {{image: db}}}}\n{large}")),
            ("named.env", format!("A=1\n{large}")),
            ("alongside.yml", format!("x: 1\n{large}")),
            ("alongside.env", large.clone()),
            ("small.yml", "x: 1\n".to_owned()),
        ] {
            std::fs::write(directory.path().join(name), text).expect("written");
        }
        git(directory.path(), &["init", "-q"]);
        git(directory.path(), &["add", "."]);
        git(directory.path(), &["commit", "-qm", "all"]);
        let project = Project::open(directory.path(), None, cm_git::tracked).expect("a project");
        let repository = Repository::open(directory.path()).expect("a repository");
        let head = repository.commit("HEAD").expect("a commit");
        let asking = Asking::of(&repository, &project, head, &[]).expect("a question");
        let sent = &asking.question.versions[0].files;
        let names: Vec<&str> = sent.keys().map(String::as_str).collect();
        assert_eq!(names, ["compose.yml", "included.yml", "named.env", "small.yml"]);
        assert!(
            sent["compose.yml"].starts_with(compose.as_bytes()) && sent["compose.yml"].len() > MAX_FILE,
            "all of it"
        );
    }
}
