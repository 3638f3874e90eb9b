//! The images that the project's services are built into, by all their names, and who
//! takes something from them or runs them.

use super::built_from::{BuildInputs, Origin};
use crate::compose::Service;
use crate::dockerfile::Step;
use crate::pattern::UNKNOWN;
use crate::template;
use std::collections::BTreeSet;

/// The images that the services are built into.
pub struct Built<'a> {
    all: &'a [Service],
    /// The names of each, in the services' order; none for a service that is not built.
    names: Vec<Vec<Name>>,
}

impl<'a> Built<'a> {
    /// The images of `all`, where the compose project may be called any of `projects`.
    pub fn of(all: &'a [Service], projects: &[String]) -> Self {
        let names = |service: &Service| {
            let Some(build) = &service.build else { return Vec::new() };
            let default = || projects.iter().map(|project| format!("{project}-{}", service.name)).collect();
            let own: Vec<String> = service.image.clone().map_or_else(default, |image| vec![image]);
            own.iter().chain(&build.tags).map(|name| Name::of(&known(name))).collect()
        };
        Built { all, names: all.iter().map(names).collect() }
    }

    /// The numbers of the services, without the one that is built itself, whose images a build takes something from.
    pub fn used(&self, build: &BuildInputs, own: usize) -> Vec<usize> {
        let wanted: Vec<Name> = build.images.iter().map(|name| Name::of(name)).collect();
        self.built(own, &|index| build.services.contains(&self.all[index].name) || self.is_called(index, &wanted))
    }

    /// The services that build the image which the service number `own` runs, itself left out.
    pub fn run_by(&self, own: usize) -> BTreeSet<String> {
        let Some(image) = &self.all[own].image else { return BTreeSet::new() };
        let wanted = [Name::of(&known(image))];
        // A whole name without anything known says nothing.
        let says = |name: &Name| !matches!(name, Name::Start(start) if start.is_empty());
        let found = self.built(own, &|index| says(&wanted[0]) && self.is_called(index, &wanted));
        found.into_iter().map(|index| self.all[index].name.clone()).collect()
    }

    fn is_called(&self, index: usize, wanted: &[Name]) -> bool {
        self.names[index].iter().any(|name| wanted.iter().any(|wanted| wanted.may_be(name)))
    }

    /// The numbers of the services other than `own` that are built and `are` what is looked for.
    fn built(&self, own: usize, are: &dyn Fn(usize) -> bool) -> Vec<usize> {
        let others = (0..self.all.len()).filter(|index| self.all[*index].name != self.all[own].name);
        others.filter(|index| self.all[*index].build.is_some() && are(*index)).collect()
    }

    /// The ONBUILD steps of the image that `origin` is, if a service other than `own` builds it.
    pub fn triggers(&self, origin: &Origin, own: usize, images: &[BuildInputs]) -> Vec<Step> {
        let used = match origin {
            Origin::Service(name) => BuildInputs { services: [name.clone()].into(), ..BuildInputs::default() },
            Origin::Image(name) => BuildInputs { images: [name.clone()].into(), ..BuildInputs::default() },
            _ => return Vec::new(),
        };
        self.used(&used, own).into_iter().flat_map(|index| images[index].triggers.clone()).collect()
    }
}

/// An image's name in a compose file, [`UNKNOWN`] for what only a server knows of it.
fn known(name: &str) -> String {
    template::replaced(name, UNKNOWN)
}

/// The name of an image.
enum Name {
    /// In full.
    Whole(String),
    /// As far as it is known.
    Start(String),
}

impl Name {
    fn of(name: &str) -> Self {
        match name.split_once(UNKNOWN) {
            Some((start, _)) => Name::Start(without_registry(start).to_owned()),
            None => Name::Whole(plain_image(name)),
        }
    }

    /// Whether both may be one image.
    fn may_be(&self, other: &Name) -> bool {
        match (self, other) {
            (Name::Whole(a), Name::Whole(b)) => a == b,
            (Name::Whole(whole), Name::Start(start)) | (Name::Start(start), Name::Whole(whole)) => {
                whole.starts_with(start.as_str())
            }
            (Name::Start(a), Name::Start(b)) => a.starts_with(b.as_str()) || b.starts_with(a.as_str()),
        }
    }
}

/// A name without the registry that is meant where none is said.
fn without_registry(name: &str) -> &str {
    let name = name.strip_prefix("index.docker.io/").or_else(|| name.strip_prefix("docker.io/")).unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

/// An image's name in its full form, so that two spellings of one are equal.
pub fn plain_image(name: &str) -> String {
    let name = without_registry(name);
    let after_slash = name.rsplit('/').next().unwrap_or(name);
    if after_slash.contains([':', '@']) { name.to_owned() } else { format!("{name}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_spellings_of_one_image_are_the_same() {
        for (a, b, same) in [
            ("index.docker.io/me/base", "me/base", true),
            ("docker.io/library/node:20", "node:20", true),
            ("me/base:\0", "me/base:1", true),
            ("me/base:\0", "me/other:1", false),
            ("me/base:1-\0", "me/base:\0", true),
            ("quay.io/me/base", "me/base", false),
        ] {
            assert_eq!(Name::of(a).may_be(&Name::of(b)), same, "{a} {b}");
        }
    }
}
