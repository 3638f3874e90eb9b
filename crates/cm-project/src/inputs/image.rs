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

    /// The numbers of the services, without the one that is built itself, whose images a build takes something from:
    /// those that it names, and those that what is not known of a name may mean. `images` is what each is built from.
    pub fn used(&self, build: &BuildInputs, own: usize, images: &[BuildInputs]) -> Vec<usize> {
        let mut used = self.named(build, own);
        let guesses: Vec<Name> = build.images.iter().map(|name| Name::of(name)).filter(|name| !name.is_whole).collect();
        if !guesses.is_empty() {
            let below = |index| self.stands_on(index, own, images, &mut BTreeSet::new());
            used.extend(self.meant(own, &guesses).into_iter().filter(|index| !below(*index)));
            used.sort_unstable();
            used.dedup();
        }
        used
    }

    /// Whether the image of another service may be what is not known of the names in `images`.
    pub fn may_be_meant(&self, images: &BTreeSet<String>, own: usize) -> bool {
        let names: Vec<Name> = images.iter().map(|name| Name::of(name)).collect();
        !self.meant(own, &names).is_empty()
    }

    /// The services whose images may be called one of `names`.
    fn meant(&self, own: usize, names: &[Name]) -> Vec<usize> {
        self.built(own, &|index| self.is_called(index, names))
    }

    /// The services whose images a build names.
    fn named(&self, build: &BuildInputs, own: usize) -> Vec<usize> {
        let wanted: Vec<Name> = build.images.iter().map(|name| Name::of(name)).filter(|name| name.is_whole).collect();
        self.built(own, &|index| build.services.contains(&self.all[index].name) || self.is_called(index, &wanted))
    }

    /// Whether the image of service `index` is that of `own`, or built on it: no image is built on itself.
    fn stands_on(&self, index: usize, own: usize, images: &[BuildInputs], seen: &mut BTreeSet<usize>) -> bool {
        let is_own = |name: &Name| self.names[own].iter().any(|own| own.is_whole && own.texts == name.texts);
        index == own
            || self.names[index].iter().any(is_own)
            || self.all[index].image.as_ref().is_some_and(|image| Some(image) == self.all[own].image.as_ref())
            || (seen.insert(index)
                && self.named(&images[index], index).into_iter().any(|next| self.stands_on(next, own, images, seen)))
    }

    /// The services that build the image which the service number `own` runs, itself left out.
    pub fn run_by(&self, own: usize) -> BTreeSet<String> {
        let Some(image) = &self.all[own].image else { return BTreeSet::new() };
        let wanted = [Name::of(&known(image))];
        // The same words mean the same image, whatever the server has for their variables.
        let is_told = |index: usize| self.names[index].iter().any(Name::says_something);
        let found = self.built(own, &|index| {
            self.all[index].image.as_ref() == Some(image)
                || (wanted[0].says_something() && is_told(index) && self.is_called(index, &wanted))
        });
        found.into_iter().map(|index| self.all[index].name.clone()).collect()
    }

    fn is_called(&self, index: usize, wanted: &[Name]) -> bool {
        let means = |wanted: &Name, name: &Name| (name.says_something() || !wanted.is_whole) && wanted.may_be(name);
        self.names[index].iter().any(|name| wanted.iter().any(|wanted| means(wanted, name)))
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
        self.used(&used, own, images).into_iter().flat_map(|index| images[index].triggers.clone()).collect()
    }
}

/// An image's name in a compose file, [`UNKNOWN`] for what only a server knows of it.
fn known(name: &str) -> String {
    template::replaced(name, UNKNOWN)
}

/// The name of an image, as far as it is known.
struct Name {
    /// Its full forms; one, if all of it is known.
    texts: Vec<String>,
    /// Whether all of it is known.
    is_whole: bool,
}

/// Longer names are taken for whatever is looked for.
const MAX_COMPARED: usize = 512;

impl Name {
    fn of(name: &str) -> Self {
        if !name.contains(UNKNOWN) {
            return Name { texts: vec![plain_image(name)], is_whole: true };
        }
        let name = without_registry(name);
        // The registry that is not known may be the one that is meant where none is said.
        let local = name.strip_prefix(UNKNOWN).and_then(|rest| rest.strip_prefix('/'));
        let mut texts = Vec::new();
        for text in std::iter::once(name).chain(local) {
            let last = text.rsplit('/').next().unwrap_or(text);
            if !last.contains([':', '@']) {
                texts.push(format!("{text}:latest"));
            }
            // What is not known of the last part may hold the tag.
            if last.contains([':', '@', UNKNOWN]) {
                texts.push(text.to_owned());
            }
        }
        Name { texts, is_whole: false }
    }

    /// Whether anything but signs is known of it.
    fn says_something(&self) -> bool {
        self.texts.iter().any(|text| text.trim_end_matches(":latest").contains(char::is_alphanumeric))
    }

    /// Whether both may be one image.
    fn may_be(&self, other: &Name) -> bool {
        let one = |a: &str, b: &str| match (with_tag(a), with_tag(b)) {
            (Some((a, tag)), Some((b, other))) => may_be_one(a, b) && may_be_one(tag, other),
            _ => may_be_one(a, b),
        };
        self.texts.iter().any(|a| other.texts.iter().any(|b| one(a, b)))
    }
}

/// A name and its tag, where it is sure to have one.
fn with_tag(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))
}

/// Whether two texts, in which [`UNKNOWN`] stands for any text, may be the same.
fn may_be_one(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    if !a.contains(UNKNOWN) && !b.contains(UNKNOWN) {
        return false;
    }
    if a.len().max(b.len()) > MAX_COMPARED {
        return true;
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // For each start of `b`: whether it may be the start of `a` that was come to.
    let mut may: Vec<bool> = (0..=b.len()).map(|end| b[..end].iter().all(|c| *c == UNKNOWN)).collect();
    for c in a {
        let mut next = vec![c == UNKNOWN && may[0]];
        for (end, other) in b.iter().enumerate() {
            next.push(match (c == UNKNOWN, *other == UNKNOWN) {
                (false, false) => may[end] && c == *other,
                _ => may[end + 1] || next[end] || may[end],
            });
        }
        may = next;
    }
    may[b.len()]
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
            ("\0/base", "base", true),
            ("\0/base", "quay.io/me/base:latest", true),
            ("\0/base", "base:1", false),
            ("\0/base:\0", "\0/base:1", true),
            ("\0/base:\0", "\0/web:\0", false),
            ("\0/base:\0", "python:3", false),
            ("\0-base", "slim-base", true),
            ("\0-base", "slim-base:1", false),
            ("base-\0", "base-slim:1", true),
            ("\0", "anything:1", true),
        ] {
            assert_eq!(Name::of(a).may_be(&Name::of(b)), same, "{a} {b}");
        }
    }
}
