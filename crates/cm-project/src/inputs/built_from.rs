//! What an image is built from, as the walk through its Dockerfile collects it.

use super::rule::{self, PathRule};
use crate::compose::{Build, Context};
use crate::dockerfile::Step;
use crate::tree::Place;
use std::collections::BTreeSet;

/// What an image is built from.
#[derive(Clone, Debug, Default)]
pub struct BuildInputs {
    /// The paths of the repository.
    pub rules: Vec<PathRule>,
    /// The images it takes something from; [`UNKNOWN`](crate::pattern::UNKNOWN) stands for what is not known of a name.
    pub images: BTreeSet<String>,
    /// The names of base images of which only a server knows all, whether or not a default stands in for them.
    pub open_images: BTreeSet<String>,
    /// The build's arguments that decide about those.
    pub asked_for_base: BTreeSet<String>,
    /// The services whose images it takes something from by their names.
    pub services: BTreeSet<String>,
    /// The ONBUILD steps of the image, which run in the builds based on it.
    pub triggers: Vec<Step>,
    /// The first line that BuildKit will refuse once its variables have values, and why.
    pub refused: Option<(usize, String)>,
    /// What BuildKit will refuse, with its place.
    pub warnings: Vec<String>,
    /// All of the build context: what the ONBUILD steps of a base image may take.
    pub context: Option<PathRule>,
}

impl BuildInputs {
    /// What can end a mistake in the Dockerfile: until then nothing else matters.
    pub fn of_broken(build: &Build) -> Self {
        let Context::Directory(context) = &build.context else { return BuildInputs::default() };
        let names = build.dockerfile.as_deref().map_or_else(|| vec!["Dockerfile", "dockerfile"], |name| vec![name]);
        let places = names.iter().map(|name| Place::at(context, name));
        let rules = places.filter_map(|place| Some(PathRule::exact(rule::DOCKERFILE, place.inside()?))).collect();
        BuildInputs { rules, ..BuildInputs::default() }
    }
}

/// The ONBUILD steps of an image that a service of the project builds.
pub type Triggers<'a> = &'a dyn Fn(&Origin) -> Vec<Step>;

/// Where a FROM, a `--from` or a mount takes things from.
pub enum Origin {
    /// The stage of this number.
    Stage(usize),
    /// The number of a directory in [`Walk::directories`](super::walk::Walk::directories).
    Directory(usize),
    /// The image of this service.
    Service(String),
    /// The image of this name.
    Image(String),
    /// Nothing that a change in the repository could change.
    Elsewhere,
}
