//! How the stages of a Dockerfile hang together: BuildKit refuses stages that need each
//! other, and numbers of stages that are not there.

use super::{Dockerfile, Stage, Step};

impl Dockerfile {
    /// What BuildKit refuses about the stages, and the line of the stage that it is about.
    pub fn refused_stages(&self) -> Option<(usize, String)> {
        if let Some(odd) = &self.odd_source {
            return Some(odd.clone());
        }
        let mut done = vec![false; self.stages.len()];
        for (index, stage) in self.stages.iter().enumerate() {
            let too_high = |name: &&str| name.parse::<usize>().is_ok_and(|number| number >= self.stages.len());
            if let Some(name) = sources(stage).into_iter().find(too_high) {
                return Some((stage.line, format!("there is no stage {name}")));
            }
            if let Some(circle) = self.walk(index, &mut Vec::new(), &mut done) {
                let names: Vec<String> = circle.iter().map(|index| self.called(*index)).collect();
                return Some((self.stages[circle[0]].line, format!("stages need each other: {}", names.join(" → "))));
            }
        }
        None
    }

    fn called(&self, index: usize) -> String {
        self.stages[index].name.clone().unwrap_or_else(|| index.to_string())
    }

    /// The stages of a circle that `index` leads into.
    fn walk(&self, index: usize, path: &mut Vec<usize>, done: &mut [bool]) -> Option<Vec<usize>> {
        if let Some(start) = path.iter().position(|known| *known == index) {
            return Some(path[start..].iter().copied().chain([index]).collect());
        }
        if done[index] {
            return None;
        }
        path.push(index);
        let found = self.needed(index).into_iter().find_map(|other| self.walk(other, path, done));
        path.pop();
        done[index] = true;
        found
    }

    fn needed(&self, index: usize) -> Vec<usize> {
        let stage = &self.stages[index];
        let base = self.stages[..index]
            .iter()
            .rposition(|earlier| earlier.name.as_deref() == Some(&stage.base.to_ascii_lowercase()));
        base.into_iter().chain(sources(stage).into_iter().filter_map(|name| self.stage(name))).collect()
    }
}

/// What a stage copies or mounts from by name.
fn sources(stage: &Stage) -> Vec<&str> {
    let mut names = Vec::new();
    for step in &stage.steps {
        match step {
            Step::Copy(copy) => names.extend(copy.from.as_deref()),
            Step::Run(mounts) => names.extend(mounts.iter().filter_map(|mount| mount.from.as_deref())),
            _ => {}
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_that_need_each_other_are_refused() {
        for (text, wanted) in [
            (
                "FROM x AS a\nCOPY --from=b /x /\nFROM y AS b\nCOPY --from=a /x /\n",
                Some((1, "stages need each other: a → b → a")),
            ),
            ("FROM x\nFROM y AS a\nCOPY --from=a /x /\n", Some((2, "stages need each other: a → a"))),
            ("FROM x\nRUN --mount=from=7,target=/x y\n", Some((1, "there is no stage 7"))),
            ("FROM x AS a\nFROM a AS b\nCOPY --from=a /x /\nCOPY --from=0 /y /\nCOPY --from=nginx /z /\n", None),
            ("FROM a AS a\nFROM a AS a\n", None),
            (
                "FROM x\nCOPY --from=Bad:Image:x /x /\n",
                Some((2, "\"Bad:Image:x\" is neither a stage nor the name of an image")),
            ),
            (
                "FROM x\nRUN --mount=from=-1,target=/x y\n",
                Some((2, "\"-1\" is neither a stage nor the name of an image")),
            ),
            ("FROM x AS Up\nFROM y\nCOPY --from=Up /x /\nCOPY --from='up' /x /\n", None),
        ] {
            let file = Dockerfile::parse("Dockerfile", text).expect(text);
            assert_eq!(file.refused_stages(), wanted.map(|(line, text)| (line, text.to_owned())), "{text}");
        }
    }
}
