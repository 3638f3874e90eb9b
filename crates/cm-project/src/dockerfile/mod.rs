//! Dockerfiles, as far as they decide what an image is built from: stages, what they
//! copy and mount, and the variables in those paths. Everything else an instruction
//! does is covered by one rule: the Dockerfile itself is an input.

mod check;
mod lines;
mod reference;
mod run_mount;
mod stages;
pub mod words;

pub use reference::is_image;

use crate::nearest;
use crate::source::{self, Position};
use cm_core::{Failure, Result};
use lines::{Error, Line, error};

/// Every instruction there is.
const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// A parsed Dockerfile.
#[derive(Clone, Debug)]
pub struct Dockerfile {
    /// The ARGs before the first FROM.
    pub args: Vec<(String, Option<String>)>,
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// The escape character.
    pub escape: char,
    /// Something to copy or mount from that is neither a stage nor an image: the line, and why it is refused.
    odd_source: Option<(usize, String)>,
}

/// One stage.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Its name, in lower case.
    pub name: Option<String>,
    /// The line of its FROM, from 1.
    pub line: usize,
    /// What it is based on, before variables are replaced.
    pub base: String,
    /// The steps that matter, in order.
    pub steps: Vec<Step>,
}

/// A step that decides about inputs. Words are as written: variables are replaced
/// when the values are known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// `ARG name[=default]…`
    Arg(Vec<(String, Option<String>)>),
    /// `ENV name=value…`
    Env(Vec<(String, String)>),
    /// COPY and ADD.
    Copy(Copy),
    /// The mounts of a RUN.
    Run(Vec<Mount>),
    /// Words that BuildKit judges once their variables have values.
    Words(Words),
    /// A step for the stages that are based on this one.
    OnBuild(Box<Step>),
}

/// EXPOSE, STOPSIGNAL or VOLUME with variables.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Words {
    /// Its line, from 1.
    pub line: usize,
    keyword: String,
    /// The words as they are written.
    pub words: Vec<String>,
}

impl Words {
    /// Why BuildKit refuses one of the words, whose variables have been replaced.
    pub fn refused(&self, word: &str) -> Option<String> {
        check::refused_word(&self.keyword, word)
    }
}

/// COPY or ADD.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Copy {
    /// Whether it is an ADD, whose sources may be addresses.
    pub is_add: bool,
    /// What is copied; here-documents are left out.
    pub sources: Vec<String>,
    /// The stage, image or context it comes from; the build context if not said.
    pub from: Option<String>,
    /// `--exclude` patterns.
    pub exclude: Vec<String>,
    /// Whether sources keep their directories, which also gives `**` its meaning.
    pub parents: bool,
}

/// `RUN --mount`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mount {
    /// `bind`, `cache`, …
    pub kind: String,
    /// The stage, image or context it comes from.
    pub from: Option<String>,
    /// The path in it.
    pub source: String,
}

impl Dockerfile {
    /// Reads a Dockerfile; `file` is its name for messages.
    ///
    /// # Errors
    /// [`cm_core::Exit::Config`] with file, line and a caret.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        parse(text).map_err(|error| failure(&Position { file: file.into(), line: error.line, column: 1 }, text, &error))
    }

    /// Reads a Dockerfile that is a string at `at` of a compose file, whose text is `around`.
    ///
    /// # Errors
    /// As [`Dockerfile::parse`], with the place in the compose file.
    pub fn parse_inline(text: &str, at: &Position, around: &str) -> Result<Self> {
        parse(text).map_err(|error| failure(&place_inline(text, at, around, error.line), around, &error))
    }

    /// The stage that `target` names, by name or number; the last one without.
    ///
    /// # Errors
    /// [`cm_core::Exit::Config`] with the nearest stage's name.
    pub fn target(&self, file: &str, target: Option<&str>) -> Result<usize> {
        let Some(target) = target else { return Ok(self.stages.len() - 1) };
        self.stage(target).ok_or_else(|| {
            let names = self.stages.iter().filter_map(|stage| stage.name.as_deref()).collect::<Vec<_>>();
            Failure::new(cm_core::Exit::Config, "dockerfile.unknown-stage", format!("{file} has no stage {target:?}"))
                .hint(nearest::hint(target, names))
        })
    }

    /// The stage with this name or number.
    pub fn stage(&self, name: &str) -> Option<usize> {
        let lower = name.to_ascii_lowercase();
        let named = self.stages.iter().rposition(|stage| stage.name.as_deref() == Some(&lower));
        named.or_else(|| name.parse().ok().filter(|index| *index < self.stages.len()))
    }
}

fn failure(at: &Position, text: &str, error: &Error) -> Failure {
    let failure = source::failure("dockerfile.syntax", at, text, &error.message);
    match unknown_keyword(&error.message) {
        Some(keyword) => failure.hint(nearest::hint(keyword, KEYWORDS)),
        None => failure,
    }
}

/// Where line `number` of the string that stands at `at` is. A block scalar begins in
/// the line after its `|`; what is on one line is all at one place.
fn place_inline(inline: &str, at: &Position, around: &str, number: usize) -> Position {
    let wanted = inline.lines().nth(number - 1).unwrap_or_default().trim();
    let below = around.lines().enumerate().skip(at.line.saturating_sub(1));
    let mut same = below.filter(|(_, line)| line.trim() == wanted);
    // The same line may come several times; the one so far down is meant.
    let earlier = inline.lines().take(number - 1).filter(|line| line.trim() == wanted).count();
    match same.nth(earlier) {
        Some((index, line)) if !wanted.is_empty() => {
            let indent = line.chars().take_while(|c| c.is_whitespace()).count();
            Position { file: at.file.clone(), line: index + 1, column: indent + 1 }
        }
        _ => at.clone(),
    }
}

fn unknown_keyword(message: &str) -> Option<&str> {
    message.strip_prefix("unknown instruction \"")?.strip_suffix('"')
}

/// The largest Dockerfile, in bytes: each variable is looked for among all before it.
const MAX_BYTES: usize = 256 << 10;

fn parse(text: &str) -> Result<Dockerfile, Error> {
    if text.len() > MAX_BYTES {
        return error(1, format!("the file is larger than {} KiB", MAX_BYTES >> 10));
    }
    let (lines, escape) = lines::read(text)?;
    let frontend = lines::frontend(text);
    let mut file = Dockerfile { args: Vec::new(), stages: Vec::new(), escape, odd_source: None };
    for line in &lines {
        if !KEYWORDS.contains(&line.keyword.as_str()) {
            return error(line.number, format!("unknown instruction {:?}", line.keyword));
        }
        check::check(line, escape)?;
        frontend.map_or(Ok(()), |minor| check::frontend(line, minor))?;
        match (line.keyword.as_str(), file.stages.last_mut()) {
            ("FROM", _) => {
                let stage = stage(line)?;
                check::from(line, &file, &stage.base)?;
                file.stages.push(stage);
            }
            ("ARG", None) => file.args.extend(assignments(&line.rest, escape)),
            (keyword, None) => return error(line.number, format!("{keyword} comes before the first FROM")),
            (_, Some(stage)) => stage.steps.extend(step(line, escape)?),
        }
    }
    file.odd_source = check::odd_source(&lines, &file);
    if file.stages.is_empty() { error(1, "there is no FROM") } else { Ok(file) }
}

fn stage(line: &Line) -> Result<Stage, Error> {
    let words: Vec<&str> = line.rest.split_whitespace().collect();
    let (base, name) = match words.as_slice() {
        [base] => (base, None),
        [base, keyword, name] if keyword.eq_ignore_ascii_case("as") => (base, Some(name.to_ascii_lowercase())),
        _ => return error(line.number, "FROM takes an image, or an image, AS and a name"),
    };
    if let Some(name) = &name
        && !is_stage_name(name)
    {
        return error(line.number, format!("a stage cannot be called {name:?}"));
    }
    Ok(Stage { name, line: line.number, base: (*base).to_owned(), steps: Vec::new() })
}

/// A letter, then what images are called by.
fn is_stage_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase()) && reference::is_component(name)
}

/// The step of a line, if it decides about inputs.
fn step(line: &Line, escape: char) -> Result<Option<Step>, Error> {
    Ok(match line.keyword.as_str() {
        "ARG" => Some(Step::Arg(assignments(&line.rest, escape))),
        "ENV" => Some(Step::Env(environment(&line.rest, escape))),
        "COPY" | "ADD" => Some(Step::Copy(copy(line)?)),
        "RUN" => {
            let mounts: Vec<Mount> = flags(line, "mount").map(mount).collect();
            (!mounts.is_empty()).then_some(Step::Run(mounts))
        }
        "EXPOSE" | "STOPSIGNAL" | "VOLUME" => with_variables(line, escape).map(Step::Words),
        "ONBUILD" => on_build(line, escape)?,
        _ => None,
    })
}

/// The words of an instruction that has variables.
fn with_variables(line: &Line, escape: char) -> Option<Words> {
    let words = || match line.keyword.as_str() {
        "STOPSIGNAL" => vec![line.rest.clone()],
        "VOLUME" => json_list(&line.rest).unwrap_or_else(|| words::split(&line.rest, escape)),
        _ => words::split(&line.rest, escape),
    };
    line.rest.contains('$').then(|| Words { line: line.number, keyword: line.keyword.clone(), words: words() })
}

fn on_build(line: &Line, escape: char) -> Result<Option<Step>, Error> {
    let mut inner = lines::instruction(line.number, &line.rest, escape);
    inner.heredocs = line.heredocs;
    if matches!(inner.keyword.as_str(), "FROM" | "MAINTAINER" | "ONBUILD") {
        return error(line.number, format!("ONBUILD {} is not allowed", inner.keyword));
    }
    check::strings(&inner)?;
    // Whatever else is wrong with it is refused where an image is built on this one, and not here.
    let is_right = KEYWORDS.contains(&inner.keyword.as_str()) && check::check(&inner, escape).is_ok();
    let inner = if is_right { step(&inner, escape).ok().flatten() } else { None };
    Ok(inner.map(|step| Step::OnBuild(Box::new(step))))
}

/// The values of the flag `name`.
fn flags<'a>(line: &'a Line, name: &'a str) -> impl Iterator<Item = &'a str> {
    line.flags
        .iter()
        .filter_map(move |flag| flag.split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value))
}

fn copy(line: &Line) -> Result<Copy, Error> {
    let mut words = json_list(&line.rest).unwrap_or_else(|| line.rest.split_whitespace().map(str::to_owned).collect());
    if words.pop().is_none() || words.is_empty() {
        return error(line.number, format!("{} takes at least a source and a destination", line.keyword));
    }
    words.retain(|word| !(line.heredocs > 0 && word.starts_with("<<")));
    Ok(Copy {
        is_add: line.keyword == "ADD",
        sources: words,
        from: flags(line, "from").next().map(str::to_owned),
        exclude: flags(line, "exclude").map(str::to_owned).collect(),
        parents: line.flags.iter().any(|flag| flag == "parents" || flag == "parents=true"),
    })
}

/// `["a", "b"]`.
fn json_list(text: &str) -> Option<Vec<String>> {
    if !text.starts_with('[') {
        return None;
    }
    serde_json::from_str(text).ok()
}

fn mount(value: &str) -> Mount {
    let unquoted = value.trim_matches('"');
    let field = |names: &[&str]| {
        let mut fields = unquoted.split(',').filter_map(|field| field.split_once('='));
        fields
            .find(|(key, _)| names.iter().any(|name| key.eq_ignore_ascii_case(name)))
            .map(|(_, value)| value.to_owned())
    };
    Mount {
        kind: field(&["type"]).unwrap_or_else(|| "bind".to_owned()),
        from: field(&["from"]),
        source: field(&["source", "src"]).unwrap_or_else(|| "/".to_owned()),
    }
}

/// `name[=value]…`
fn assignments(text: &str, escape: char) -> Vec<(String, Option<String>)> {
    let words = words::split(text, escape).into_iter();
    words
        .map(|word| match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word, None),
        })
        .collect()
}

/// `name=value…`, or the old form `name value with spaces`.
fn environment(text: &str, escape: char) -> Vec<(String, String)> {
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    if !first.contains('=') {
        return vec![(first.to_owned(), rest.trim().to_owned())];
    }
    assignments(text, escape).into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Dockerfile {
        Dockerfile::parse("Dockerfile", text).unwrap_or_else(|failure| panic!("{failure}"))
    }

    fn copies(text: &str) -> Vec<Copy> {
        let steps = parsed(text).stages.remove(0).steps.into_iter();
        steps.filter_map(|step| if let Step::Copy(copy) = step { Some(copy) } else { None }).collect()
    }

    #[test]
    fn stages_have_names_and_numbers() {
        let file =
            parsed("ARG V=1\nFROM --platform=$BUILDPLATFORM node:$V AS Build\nFROM build\nfrom scratch as last\n");
        assert_eq!(file.args, [("V".to_owned(), Some("1".to_owned()))]);
        assert_eq!(file.stages[0].name.as_deref(), Some("build"));
        assert_eq!(file.stages[0].base, "node:$V");
        assert_eq!((file.stage("BUILD"), file.stage("1"), file.stage("9")), (Some(0), Some(1), None));
        assert_eq!(file.target("Dockerfile", None).expect("last"), 2);
        let failure = file.target("Dockerfile", Some("biuld")).expect_err("unknown");
        assert_eq!(failure.hint.as_deref(), Some("did you mean \"build\"?"));
    }

    #[test]
    fn copies_are_read_in_every_form() {
        let found = copies(
            "FROM x\nCOPY a b /d/\nADD [\"a b\", \"c\"]\nCOPY --from=build --exclude=*.md --exclude=x --parents /out /\nCOPY <<EOF extra /d/\nhi\nEOF\n",
        );
        assert_eq!(found[0].sources, ["a", "b"]);
        assert!(found[1].is_add);
        assert_eq!(found[1].sources, ["a b"]);
        assert_eq!((found[2].from.as_deref(), found[2].parents), (Some("build"), true));
        assert_eq!(found[2].exclude, ["*.md", "x"]);
        assert_eq!(found[3].sources, ["extra"]);
    }

    #[test]
    fn mounts_environment_and_triggers_are_read() {
        let file = parsed(
            "FROM x\nRUN --mount=type=bind,src=a,target=/a --mount=target=/b --mount=type=cache,target=/c make\nENV A=1 B=\"2 3\"\nENV OLD a b\nONBUILD COPY . /app\nRUN plain\n",
        );
        let steps = &file.stages[0].steps;
        let mount = |kind: &str, source: &str| Mount { kind: kind.to_owned(), from: None, source: source.to_owned() };
        assert_eq!(steps[0], Step::Run(vec![mount("bind", "a"), mount("bind", "/"), mount("cache", "/")]));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(steps[1], Step::Env(vec![pair("A", "1"), pair("B", "\"2 3\"")]));
        assert_eq!(steps[2], Step::Env(vec![pair("OLD", "a b")]));
        assert!(
            matches!(&steps[3], Step::OnBuild(step) if matches!(step.as_ref(), Step::Copy(copy) if copy.sources == ["."]))
        );
        assert_eq!(steps.len(), 4);
    }

    #[test]
    fn what_buildkit_takes_is_taken() {
        for text in [
            "ARG B\nFROM $B\nFROM --platform=$BUILDPLATFORM x:${TAG:-1} AS s\nCOPY --from=s a /\n",
            "FROM x\nENV A=${B:-x} C=${B#x} D=$ E=$(x) F='$' G=\"it's\"\nLABEL a b\n",
            "FROM x\nEXPOSE 80/ 80/TCP $P 1.1.1.1:80:80 8000-8002 0\nUSER ''\nSTOPSIGNAL RTMIN+1\n",
            "FROM x\nHEALTHCHECK --interval= --retries=0 --timeout=1ms CMD x\nCMD []\nENTRYPOINT []\nCMD ['a']\n",
            "FROM x\nONBUILD FOO\nONBUILD COPY a\nRUN echo it\\'s ${\nCMD echo 'a\n",
            "# escape=\nFROM x\nCOPY a[b]c /\nCOPY $X /\nCOPY --from= a /\n",
            "FROM x\nHEALTHCHECK --interval=\"5s\" --retries= CMD x\nSTOPSIGNAL --x SIGTERM\n",
            "FROM x\nADD --checksum=$S $A /\nADD --link --unpack https://x/y.git git@x:y.git ./z /\nCOPY ./http:/x /\n",
            "# syntax=docker/dockerfile:1.20\nFROM x\nCOPY --parents --link --exclude=y . /\nRUN --security=insecure y\n",
            "# check=skip=all\n# syntax = docker/dockerfile:1.7-labs\nFROM x\nCOPY --parents . /\n",
            "# syntax=docker/dockerfile:1\nFROM --platform=${P:-linux/amd64} x\nCOPY --parents --exclude=y . /\n",
        ] {
            parsed(text);
        }
    }

    fn checksum(rest: &str) -> String {
        format!("FROM x\nADD --checksum=sha256:{} {rest}\n", "0".repeat(64))
    }

    #[test]
    fn mistakes_point_at_their_line() {
        for (text, start) in [
            ("FROM x\nCOPPY a b\n", "Dockerfile:2:1: unknown instruction \"COPPY\""),
            ("RUN x\nFROM y\n", "Dockerfile:1:1: RUN comes before the first FROM"),
            ("FROM x\nCOPY a\n", "Dockerfile:2:1: COPY takes at least"),
            ("FROM x AS\n", "Dockerfile:1:1: FROM takes"),
            ("FROM x AS 1a\n", "Dockerfile:1:1: a stage cannot be called \"1a\""),
            ("FROM --plat=x y\n", "Dockerfile:1:1: FROM has no flag --plat; did you mean --platform?"),
            ("FROM x\nCOPY --form=a b c\n", "Dockerfile:2:1: COPY has no flag --form; did you mean --from?"),
            ("FROM x\nCOPY --from=a --from=b c d\n", "Dockerfile:2:1: the flag --from is there twice"),
            ("FROM x\nADD --link=perhaps a b\n", "Dockerfile:2:1: the flag --link wants another value"),
            ("FROM x\nENV A\n", "Dockerfile:2:1: ENV takes a name and a value"),
            ("FROM x\nENV A=1 B\n", "Dockerfile:2:1: \"B\" is not of the form name=value"),
            ("FROM x\nARG\n", "Dockerfile:2:1: ARG takes at least one argument"),
            ("FROM x\nCMD [\"a\", 1]\n", "Dockerfile:2:1: the list of CMD holds something else than strings"),
            ("FROM x\nSHELL sh -c\n", "Dockerfile:2:1: SHELL takes a list"),
            ("FROM x\nHEALTHCHECK NONE x\n", "Dockerfile:2:1: HEALTHCHECK NONE takes no arguments"),
            ("FROM x\nHEALTHCHECK --interval=often CMD x\n", "Dockerfile:2:1: \"often\" is not a value of --interval"),
            ("FROM x\nONBUILD ONBUILD RUN x\n", "Dockerfile:2:1: ONBUILD ONBUILD is not allowed"),
            ("FROM $NOWHERE\n", "Dockerfile:1:1: FROM names no image"),
            ("FROM a:b:c\n", "Dockerfile:1:1: \"a:b:c\" is not the name of an image"),
            ("FROM --platform=a/b/c/d x\n", "Dockerfile:1:1: \"a/b/c/d\" is not a platform"),
            ("FROM x AS b-\n", "Dockerfile:1:1: a stage cannot be called \"b-\""),
            ("FROM x\nCOPY --from=$S a b\n", "Dockerfile:2:1: --from takes no variable"),
            ("FROM x\nCOPY --from=-1 a b\n", "Dockerfile:2:1: there is no stage -1"),
            ("FROM x\nADD --checksum=sha256:1 http://x/ /\n", "Dockerfile:2:1: \"sha256:1\" is not a checksum"),
            ("FROM x\nRUN --network=foo y\n", "Dockerfile:2:1: --network knows no \"foo\""),
            ("FROM x\nRUN --network=$N y\n", "Dockerfile:2:1: --network knows no \"$N\""),
            (
                "FROM x\nCOPY https://x/a b /\n",
                "Dockerfile:2:1: COPY takes no address such as \"https://x/a\": ADD does",
            ),
            (
                "FROM x\nCOPY [\"git@x:y.git\", \"/\"]\n",
                "Dockerfile:2:1: COPY takes no address such as \"git@x:y.git\"",
            ),
            (&checksum("a /"), "Dockerfile:2:1: \"a\" has no --checksum: only what is fetched has one"),
            (&checksum("http://x/a http://x/b /"), "Dockerfile:2:1: --checksum is of one source"),
            (
                "FROM x\nHEALTHCHECK --retries=2147483648 CMD x\n",
                "Dockerfile:2:1: \"2147483648\" is not a value of --retries",
            ),
            ("FROM x\nSTOPSIGNAL 0\n", "Dockerfile:2:1: \"0\" is not a signal"),
            ("FROM --platform=$NOWHERE x\n", "Dockerfile:1:1: the variable in --platform has no value"),
            (
                "# escape=`\n#syntax=docker.io/docker/dockerfile:1.7.1\nFROM x\nCOPY --parents a /\n",
                "Dockerfile:4:1: --parents takes docker/dockerfile:1.20 or later, and the file asks for 1.7",
            ),
            ("FROM x\nCOPY <<E\nhi\nE\n", "Dockerfile:2:1: COPY takes at least"),
            ("FROM x\nCOPY [ab /\n", "Dockerfile:2:1: a bracket in \"[ab\" has no end"),
            ("FROM x\nVOLUME []\n", "Dockerfile:2:1: the list of VOLUME is empty"),
            ("FROM x\nVOLUME ''\n", "Dockerfile:2:1: VOLUME names nothing"),
            ("FROM x\nHEALTHCHECK CMD []\n", "Dockerfile:2:1: the list of HEALTHCHECK is empty"),
            ("FROM x\nHEALTHCHECK --timeout=1us CMD x\n", "Dockerfile:2:1: \"1us\" is not a value of --timeout"),
            ("FROM x\nEXPOSE 80 web\n", "Dockerfile:2:1: \"web\" is not a port"),
            ("FROM x\nEXPOSE 90-80\n", "Dockerfile:2:1: \"90-80\" is not a port"),
            ("FROM x\nENV A='1\n", "Dockerfile:2:1: a quote has no end in \"A='1\""),
            ("FROM x\nENV A=${B^}\n", "Dockerfile:2:1: a variable cannot be read in \"A=${B^}\""),
            ("FROM x\nWORKDIR ${\n", "Dockerfile:2:1: a variable cannot be read in \"${\""),
            ("FROM x\n\\\n", "Dockerfile:2:1: a continued line has no instruction"),
            ("# escape=`\n# escape=`\nFROM x\n", "Dockerfile:2:1: the directive escape is there twice"),
            ("FROM x\nSTOPSIGNAL SIGFOO\n", "Dockerfile:2:1: \"SIGFOO\" is not a signal"),
            ("FROM x\nRUN --mount=type=bnd y\n", "Dockerfile:2:1: --mount knows no type \"bnd\""),
            ("FROM x\nRUN --mount=tpye=bind y\n", "Dockerfile:2:1: --mount has no field \"tpye\"; did you mean type?"),
            ("ARG x\n", "Dockerfile:1:1: there is no FROM"),
            ("", "Dockerfile:1:1: the file has no instructions"),
        ] {
            let failure = Dockerfile::parse("Dockerfile", text).expect_err(text);
            assert!(failure.message.starts_with(start), "{}", failure.message);
            assert_eq!(failure.code, "dockerfile.syntax");
        }
        let failure = Dockerfile::parse("Dockerfile", "FROM x\nCOPPY a b\n").expect_err("typo");
        assert_eq!(failure.hint.as_deref(), Some("did you mean \"COPY\"?"));
    }
}
