//! What one image is built from: finds the Dockerfile and the build context in the
//! repository, and has the stages walked that the target reaches.

use super::built_from::{BuildInputs, Triggers};
use super::directory::Directory;
use super::rule::{self, PathRule};
use super::walk::Walk;
use crate::compose::{Build, Context};
use crate::dockerfile::Dockerfile;
use crate::pattern::Source;
use crate::source::Position;
use crate::tree::{self, Place, Tree};
use cm_core::{Exit, Failure, Result};
use std::collections::{BTreeMap, BTreeSet};

/// The inputs of `build`, which may be based on images with `triggers`.
///
/// # Errors
/// [`Exit::Config`] for a Dockerfile with a mistake, or a target that it does not have.
pub fn inputs(tree: &dyn Tree, build: &Build, triggers: Triggers) -> Result<BuildInputs> {
    let mut out = BuildInputs::default();
    let build = &resolved(tree, build, &mut out);
    let Some((file, dockerfile)) = dockerfile(tree, build, &mut out)? else { return Ok(out) };
    // A named context may take the place of a stage, and end a circle.
    if let Some((line, why)) = dockerfile.refused_stages().filter(|_| build.contexts.is_empty()) {
        return Err(Failure::new(Exit::Config, "dockerfile.syntax", format!("{file}:{line}: {why}")));
    }
    let target = match build.open_target {
        true => dockerfile.stages.len() - 1,
        false => dockerfile.target(&file, build.target.as_deref())?,
    };
    let ignore_file = format!("{file}.dockerignore");
    let own_ignore = build.inline.is_none() && tree::read(tree, &ignore_file).ok().flatten().is_some();
    let mut walk = Walk {
        tree,
        build,
        outer: triggers,
        dockerfile: &dockerfile,
        out,
        begun: BTreeSet::new(),
        left: BTreeMap::new(),
        directories: Vec::new(),
    };
    if let Context::Directory(directory) = &build.context {
        let ignore = if own_ignore { ignore_file.clone() } else { tree::join(directory, ".dockerignore") };
        walk.directories.push(Directory::new(tree, directory, ignore));
    }
    let left = walk.stage(target);
    if build.open_target {
        // Any stage could be meant.
        (0..target).for_each(|stage| walk.reach(stage));
    }
    let (mut out, directories) = (walk.out, walk.directories);
    // With stages that may not be meant nothing is sure.
    if let Some((line, why)) = out.refused.take().filter(|_| !build.open_target) {
        return Err(Failure::new(Exit::Config, "dockerfile.syntax", format!("{file}:{line}: {why}")));
    }
    out.triggers = left.triggers;
    if let (Context::Directory(_), Some(directory)) = (&build.context, directories.first()) {
        out.context = Some(directory.rule(rule::TRIGGER, Source::new(".")));
    }
    for directory in directories.iter().filter(|directory| directory.used) {
        out.warnings.extend(directory.warnings.iter().cloned());
        out.rules.push(PathRule::exact(rule::DOCKERIGNORE, &directory.ignore_file));
    }
    // A file that is not there yet becomes an input by appearing.
    if directories.first().is_some_and(|directory| directory.used) && !own_ignore && build.inline.is_none() {
        out.rules.push(PathRule::exact(rule::DOCKERIGNORE, &ignore_file));
    }
    Ok(out)
}

/// The build with the directories that its contexts link to; the links are inputs.
fn resolved(tree: &dyn Tree, build: &Build, out: &mut BuildInputs) -> Build {
    let mut build = build.clone();
    let own = std::iter::once(&mut build.context);
    for context in own.chain(build.contexts.iter_mut().map(|(_, context)| context)) {
        if let Context::Directory(path) = context
            && let Some((target, links)) = tree::follow(tree, path)
            && !links.is_empty()
        {
            out.rules.extend(links.iter().map(|link| PathRule::exact(rule::CONTEXT, link)));
            *path = target;
        }
    }
    build
}

/// The Dockerfile and its name. `None` where it cannot be read here: then the whole
/// context is the input, if it is ours.
fn dockerfile(tree: &dyn Tree, build: &Build, out: &mut BuildInputs) -> Result<Option<(String, Dockerfile)>> {
    if let Some(text) = &build.inline {
        let name = "dockerfile_inline".to_owned();
        let parsed = match &build.inline_at {
            Some(at) => Dockerfile::parse_inline(text, at, &compose_text(tree, at))?,
            None => Dockerfile::parse(&name, text)?,
        };
        return Ok(Some((name, parsed)));
    }
    let context = match &build.context {
        Context::Directory(context) => context,
        Context::Unknown(directory) => {
            out.rules.push(PathRule::below(rule::CONTEXT, directory));
            return Ok(None);
        }
        _ => return Ok(None),
    };
    let named = dockerfile_path(tree, context, build.dockerfile.as_deref()).filter(|_| !build.open_dockerfile);
    let Some(path) = named else {
        out.rules.push(PathRule::below(rule::CONTEXT, context));
        return Ok(None);
    };
    let unreadable =
        |cause: String| Failure::new(Exit::Config, "dockerfile.unreadable", format!("cannot read {path}")).cause(cause);
    let bytes = tree::read(tree, &path).map_err(|error| unreadable(error.to_string()))?.unwrap_or_default();
    let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8".to_owned()))?;
    out.rules.push(PathRule::exact(rule::DOCKERFILE, &path));
    if let Some((target, links)) = tree::follow(tree, &path) {
        out.rules.extend(links.iter().chain([&target]).map(|path| PathRule::exact(rule::DOCKERFILE, path)));
    }
    Ok(Some((path.clone(), Dockerfile::parse(&path, &text)?)))
}

/// The text of the compose file that `at` is in.
fn compose_text(tree: &dyn Tree, at: &Position) -> String {
    let bytes = tree::read(tree, &at.file).ok().flatten().unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The Dockerfile that `build` names and `tree` does not have; the server may have it.
pub fn missing_dockerfile(tree: &dyn Tree, build: &Build) -> Option<String> {
    let (None, Context::Directory(context), false) = (&build.inline, &build.context, build.open_dockerfile) else {
        return None;
    };
    let name = build.dockerfile.as_deref();
    let place = Place::at(context, name.unwrap_or("Dockerfile"));
    // Outside of the repository nothing is known.
    let path = place.inside()?;
    dockerfile_path(tree, context, name).is_none().then(|| path.to_owned())
}

/// Where the Dockerfile is, if it is in the repository.
fn dockerfile_path(tree: &dyn Tree, context: &str, named: Option<&str>) -> Option<String> {
    let names = named.map_or_else(|| vec!["Dockerfile", "dockerfile"], |name| vec![name]);
    let places = names.into_iter().filter_map(|name| Place::at(context, name).inside().map(str::to_owned));
    places.into_iter().find(|path| tree::read(tree, path).ok().flatten().is_some())
}
