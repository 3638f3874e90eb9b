//! One service for each way to say what an image is built from, written down twice:
//! as compose files and Dockerfiles, and as plain conditions on paths that were worked
//! out by hand from Docker's documentation. The second must never be derived from the
//! first: it is what the first is judged by.

use super::world::World;
use cm_testkit::history::{File, Files};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Which paths an image holds, and everything else that decides about it.
pub struct Truth {
    /// The Dockerfile's text, build arguments, target, image name.
    words: Vec<String>,
    /// Whether a file is sent and copied.
    takes: Box<dyn Fn(&str) -> bool>,
    /// The services whose images it stands on.
    on: Vec<&'static str>,
    /// Whether Compose starts the service.
    active: bool,
}

/// The services' hashes of what they are built from, those that Compose does not start left out.
pub type Hashes = BTreeMap<&'static str, u64>;

/// One state, written out.
pub struct Written {
    pub files: Files,
    pub hashes: Hashes,
}

/// What is written so far.
#[derive(Default)]
struct Out {
    files: Files,
    services: String,
    truths: BTreeMap<&'static str, Truth>,
}

/// Every knob and how many settings it has.
pub const KNOBS: &[(&str, usize)] = &[
    ("add.url", 2),
    ("anchored.v", 3),
    ("argenv.env", 3),
    ("base.name", 2),
    ("base.present", 3),
    ("base.profile", 3),
    ("child.text", 3),
    ("compose.note", 4),
    ("env.variables", 3),
    ("extended.mode", 3),
    ("extended.tpl", 2),
    ("heredoc.text", 3),
    ("ignore.form", 6),
    ("included.text", 2),
    ("inline.text", 3),
    ("links.version", 2),
    ("module.commit", 6),
    ("moved.context", 2),
    ("mounts.text", 2),
    ("outside.ignore", 3),
    ("overridden.form", 5),
    ("ownignore.form", 5),
    ("plain.spelling", 4),
    ("plain.text", 3),
    ("replaced.named", 2),
    ("root.ignore", 3),
    ("shared.ignore", 3),
    ("targets.run", 2),
    ("tool.profile", 2),
    ("words.text", 2),
];

/// The files at the beginning: for each source one that stays, and some that miss.
pub const FILES: &[&str] = &[
    "README.md",
    "unrelated/notes.txt",
    "apps/plain/package.json",
    "apps/plain/src/keep.js",
    "apps/plain/src/deep/b.js",
    "apps/plain/src-old/a.js",
    "apps/plain/package-keep.json",
    "apps/plain/test/package.json",
    "libs/shared/keep.py",
    "libs/shared/skip/a.py",
    "libs/shared/doc.md",
    "libs/shared/x.log",
    "libs/sharedx/a.py",
    "apps/outside/keep.conf",
    "apps/outside/b.cnf",
    "apps/inline/a-keep.txt",
    "apps/inline/d/keep",
    "apps/inline/e/x",
    "libs/named/lib/keep.c",
    "libs/named/lib/a.md",
    "libs/named/other/x.c",
    "apps/named/own/keep",
    "apps/named/lib/decoy",
    "apps/targets/package-keep.json",
    "apps/targets/src/keep.js",
    "apps/targets/tests/keep.js",
    "apps/targets/docs/x",
    "apps/globs/conf/keep.toml",
    "apps/globs/conf/x.tom",
    "apps/globs/conf/deep/y.toml",
    "apps/globs/data/a1.txt",
    "apps/globs/data/c_keep.txt",
    "apps/globs/data/akeep.txt",
    "apps/globs/data/b2.txt",
    "apps/globs/data/d1.txt",
    "apps/heredoc/real/keep",
    "apps/heredoc/nope/x",
    "apps/exclude/docs/keep.txt",
    "apps/exclude/docs/a.md",
    "apps/exclude/docs/gen/x",
    "apps/exclude/docs/sub/b.md",
    "apps/parents/pkgs/a/package.json",
    "apps/parents/pkgs/keep/package.json",
    "apps/parents/pkgs/b/other.json",
    "apps/parents/libs/core/keep.ts",
    "apps/parents/libs/core/deep/er/x.ts",
    "apps/parents/libs/core/x.js",
    "apps/argenv/shop/src/keep",
    "apps/argenv/blog/src/keep",
    "apps/argenv/wiki/src/keep",
    "apps/argenv/shop/docs/x",
    "apps/mounts/tools/keep",
    "apps/mounts/g/keep",
    "apps/mounts/other/x",
    "apps/ignore/src/keep.js",
    "apps/ignore/src/a.test.js",
    "apps/ignore/src/deep/er/b.test.js",
    "apps/ignore/docs/keep.md",
    "apps/ignore/docs/other.md",
    "apps/ignore/readme.md",
    "apps/ignore/src/cab.js",
    "apps/ownignore/keep.txt",
    "apps/ownignore/a.md",
    "apps/ownignore/b.log",
    "apps/base/f/keep",
    "apps/base/x",
    "apps/child/c/keep",
    "apps/child/x",
    "apps/deep/d/keep",
    "apps/sibling/s/keep",
    "apps/contextual/k/keep",
    "common/tpl/m/keep",
    "common/tpl/x",
    "extra/svc/i/keep",
    "extra/svc/x",
    "apps/overridden/o/keep",
    "apps/anchored/a/keep",
    "apps/tool/t/keep",
    "apps/tool/x",
    "apps/env/code/keep",
    "conf/app-keep.conf",
    "conf/cfg-keep.txt",
    "conf/secret-keep.txt",
    "env/app-keep.env",
    "conf/directory/keep.ini",
    "apps/links/versions/1/lib/keep",
    "apps/links/versions/2/lib/keep",
    "apps/links/versions/1/doc/x",
    "apps/add/static/keep",
    "apps/add/other/x",
    "apps/onbuild/x",
    "apps/triggered/app/keep",
    "apps/triggered/app/deep/x",
    "apps/unknown/team/ada/keep",
    "apps/unknown/team/bob/keep",
    "apps/words/a b/keep",
    "apps/words/c/keep",
    "apps/words/e/keep",
    "apps/words/z/x",
    "apps/replaced/never/keep",
    "libs/deps/keep",
    "libs/deps/deep/x",
    "one/keep",
    "two/keep",
    "one/docs/x",
];

impl Out {
    fn file(&mut self, path: &str, text: &str) {
        self.files.insert(path.to_owned(), File { mode: "100644", text: text.to_owned() });
    }

    /// A service of the main compose file.
    fn service(&mut self, name: &str, yaml: &str) {
        self.services.push_str(&format!("  {name}:\n"));
        yaml.lines().for_each(|line| self.services.push_str(&format!("    {line}\n")));
    }

    fn truth(&mut self, name: &'static str, words: &[&str], takes: impl Fn(&str) -> bool + 'static) -> &mut Truth {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        self.truths.insert(name, Truth { words, takes: Box::new(takes), on: Vec::new(), active: true });
        self.truths.get_mut(name).expect("just inserted")
    }
}

/// What of `path` is below `directory`.
fn below<'a>(path: &'a str, directory: &str) -> Option<&'a str> {
    path.strip_prefix(directory)?.strip_prefix('/')
}

fn is_below(path: &str, directory: &str) -> bool {
    below(path, directory).is_some()
}

/// The name of a file that stands in `directory` itself.
fn name_in<'a>(path: &'a str, directory: &str) -> Option<&'a str> {
    below(path, directory).filter(|name| !name.contains('/'))
}

/// The ignore file of the repository's root, and what it ignores.
fn root_ignored(setting: usize) -> impl Fn(&str) -> bool + Copy {
    move |path: &str| path.ends_with(".log") || (setting == 2 && path.ends_with(".md"))
}

/// Writes a state out. Those of `without` are left out of the compose file.
pub fn write(world: &World, without: &[&'static str]) -> Written {
    let mut out = Out::default();
    let all: [fn(&World, &mut Out); 26] = [
        plain, outside, inline, named, targets, globs, heredoc, exclude, parents, argenv, mounts, ignore, own_ignore,
        bases, contextual, extended, overridden, anchored, tool, env, links, module, add, onbuild, words, replaced,
    ];
    for shape in all {
        let (services, truths) = (out.services.len(), out.truths.len());
        shape(world, &mut out);
        assert!(out.truths.len() > truths || out.services.len() == services, "a truth for every service");
    }
    unknown(world, &mut out);
    moved(world, &mut out);
    for name in without {
        out.services = drop_service(&out.services, name);
        out.truths.remove(name);
    }
    root(world, &mut out, without);
    let mut files = world.files.clone();
    files.append(&mut out.files);
    let hashes = hashes(&files, &out.truths);
    Written { files, hashes }
}

fn drop_service(services: &str, name: &str) -> String {
    let mut dropping = false;
    let kept = services.lines().filter(|line| {
        if line.starts_with("  ") && !line.starts_with("   ") {
            dropping = line.trim() == format!("{name}:");
        }
        !dropping
    });
    kept.map(|line| format!("{line}\n")).collect()
}

fn hashes(files: &Files, truths: &BTreeMap<&'static str, Truth>) -> Hashes {
    let mut all = Hashes::new();
    for name in truths.keys() {
        hash(name, files, truths, &mut all);
    }
    all.retain(|name, _| truths[name].active);
    all
}

fn hash(name: &'static str, files: &Files, truths: &BTreeMap<&'static str, Truth>, all: &mut Hashes) -> u64 {
    if let Some(known) = all.get(name) {
        return *known;
    }
    let truth = &truths[name];
    let mut hasher = DefaultHasher::new();
    truth.words.hash(&mut hasher);
    for (path, file) in files.iter().filter(|(path, _)| (truth.takes)(path)) {
        (path, file.mode, &file.text).hash(&mut hasher);
    }
    for other in &truth.on {
        (other, hash(other, files, truths, all)).hash(&mut hasher);
    }
    let value = hasher.finish();
    all.insert(name, value);
    value
}

/// The compose file around the services, and what belongs to no service alone.
fn root(world: &World, out: &mut Out, without: &[&str]) {
    let note = ["", "# a note\n", "x-note: {a: 1}\n", "# another\n# note\n"][world.knob("compose.note")];
    let include = if without.contains(&"included") { "" } else { "include: [extra/compose.yml]\n" };
    let v = world.knob("anchored.v");
    let text = format!(
        "name: shop\n{note}{include}x-build: &common\n  args: {{V: \"{v}\"}}\nservices:\n{}configs:\n  cfg: {{file: conf/cfg-keep.txt}}\nsecrets:\n  key: {{file: conf/secret-keep.txt}}\n",
        out.services
    );
    out.file("compose.yml", &text);
    let ignore = ["**/*.log\n", "# logs\n**/*.log\n\n", "**/*.log\n**/*.md\n"][world.knob("root.ignore")];
    out.file(".dockerignore", ignore);
    out.file("Caddyfile", "localhost\n");
}

fn plain(world: &World, out: &mut Out) {
    let build = [
        "build: ./apps/plain",
        "build: apps/plain/",
        "build:\n  context: ./apps/plain\n  dockerfile: ./Dockerfile",
        "build:\n  dockerfile: Dockerfile\n  context: apps/../apps/plain\n  cache_from: [acme/cache]",
    ][world.knob("plain.spelling")];
    out.service("plain", build);
    let text = format!("FROM scratch\nCOPY package*.json ./\nCOPY src ./src\nLABEL v={}\n", world.knob("plain.text"));
    out.file("apps/plain/Dockerfile", &text);
    out.truth("plain", &[&text], |path| {
        name_in(path, "apps/plain").is_some_and(|name| name.starts_with("package") && name.ends_with(".json"))
            || is_below(path, "apps/plain/src")
    });
}

fn outside(world: &World, out: &mut Out) {
    out.service("outside", "build: {context: ., dockerfile: docker/outside.Dockerfile}");
    let text = "FROM scratch\nCOPY libs/shared /s\nCOPY apps/outside/*.conf /c/\n";
    out.file("docker/outside.Dockerfile", text);
    let own = world.knob("outside.ignore");
    if own > 0 {
        let extra = if own == 2 { "not/there\n" } else { "" };
        out.file("docker/outside.Dockerfile.dockerignore", &format!("libs/shared/skip\n**/*.md\n{extra}"));
    }
    let by_root = root_ignored(world.knob("root.ignore"));
    out.truth("outside", &[text], move |path| {
        let ignored = match own {
            0 => by_root(path),
            _ => is_below(path, "libs/shared/skip") || path.ends_with(".md"),
        };
        let conf = name_in(path, "apps/outside").is_some_and(|name| name.ends_with(".conf"));
        !ignored && (is_below(path, "libs/shared") || conf)
    });
}

fn inline(world: &World, out: &mut Out) {
    let label = world.knob("inline.text");
    let text = format!("FROM scratch\nCOPY a-keep.txt /\nCOPY d /d\nLABEL x={label}\n");
    let indented: String = text.lines().map(|line| format!("    {line}\n")).collect();
    out.service("inline", &format!("build:\n  context: apps/inline\n  dockerfile_inline: |\n{indented}"));
    out.truth("inline", &[&text], |path| path == "apps/inline/a-keep.txt" || is_below(path, "apps/inline/d"));
}

fn named(world: &World, out: &mut Out) {
    out.service("named", "build: {context: apps/named, additional_contexts: {shared: ./libs/named}}");
    let text = "FROM scratch\nCOPY own /own\nCOPY --from=shared lib /lib\n";
    out.file("apps/named/Dockerfile", text);
    let ignore = world.knob("shared.ignore");
    if ignore > 0 {
        out.file("libs/named/.dockerignore", ["", "**/*.md\n", "**/*.md\nnot-there\n"][ignore]);
    }
    out.truth("named", &[text], move |path| {
        is_below(path, "apps/named/own") || (is_below(path, "libs/named/lib") && !(ignore > 0 && path.ends_with(".md")))
    });
}

fn targets(world: &World, out: &mut Out) {
    let text = "FROM scratch AS deps\nCOPY package-keep.json /\nFROM deps AS run\nCOPY src /src\nFROM deps AS test\nCOPY tests /tests\n";
    out.file("apps/targets/Dockerfile", text);
    let target = ["run", "test"][world.knob("targets.run")];
    out.service("runner", &format!("build: {{context: apps/targets, target: {target}}}"));
    out.service("tester", "build:\n  context: apps/targets");
    let of = |target: &str| {
        let directory = if target == "run" { "apps/targets/src" } else { "apps/targets/tests" };
        move |path: &str| path == "apps/targets/package-keep.json" || is_below(path, directory)
    };
    out.truth("runner", &[text, target], of(target));
    out.truth("tester", &[text], of("test"));
}

fn globs(_: &World, out: &mut Out) {
    out.service("globs", "build: apps/globs");
    let text = "FROM scratch\nCOPY conf/*.toml data/[a-c]?.txt data/?keep.txt /x/\n";
    out.file("apps/globs/Dockerfile", text);
    out.truth("globs", &[text], |path| {
        let toml = name_in(path, "apps/globs/conf").is_some_and(|name| name.ends_with(".toml"));
        toml || name_in(path, "apps/globs/data").is_some_and(|name| {
            let letters: Vec<char> = name.chars().collect();
            let short = letters.len() == 6 && ('a'..='c').contains(&letters[0]) && name.ends_with(".txt");
            short || (letters.len() == 9 && name.ends_with("keep.txt"))
        })
    });
}

fn heredoc(world: &World, out: &mut Out) {
    out.service("heredoc", "build: apps/heredoc");
    let word = world.knob("heredoc.text");
    let text = format!(
        "FROM scratch\nCOPY <<EOF /one\nCOPY nope /nope\n{word}\nEOF\nCOPY <<-\"A\" <<B real/keep /two/\n\tADD nope /\n\tA\nFROM nope\nB\n"
    );
    out.file("apps/heredoc/Dockerfile", &text);
    out.truth("heredoc", &[&text], |path| path == "apps/heredoc/real/keep");
}

fn exclude(_: &World, out: &mut Out) {
    out.service("exclude", "build: apps/exclude");
    let text = "# syntax=docker/dockerfile:1.7-labs\nFROM scratch\nCOPY --exclude=*.md --exclude=gen docs /docs\n";
    out.file("apps/exclude/Dockerfile", text);
    out.truth("exclude", &[text], |path| {
        below(path, "apps/exclude/docs").is_some_and(|rest| {
            let note = !rest.contains('/') && rest.ends_with(".md");
            !note && rest.split('/').next() != Some("gen")
        })
    });
}

fn parents(_: &World, out: &mut Out) {
    out.service("parents", "build: apps/parents");
    let text = "# syntax=docker/dockerfile:1.7-labs\nFROM scratch\nCOPY --parents pkgs/*/package.json libs/./core/**/*.ts /w/\n";
    out.file("apps/parents/Dockerfile", text);
    out.truth("parents", &[text], |path| {
        let package = below(path, "apps/parents/pkgs").is_some_and(|rest| {
            let parts: Vec<&str> = rest.split('/').collect();
            parts.len() == 2 && parts[1] == "package.json"
        });
        package || (is_below(path, "apps/parents/libs/core") && path.ends_with(".ts"))
    });
}

fn argenv(world: &World, out: &mut Out) {
    out.service("argenv", "build: {context: ., dockerfile: apps/argenv/Dockerfile, args: {APP: '${APP_DIR:-shop}'}}");
    let setting = world.knob("argenv.env");
    out.file(".env", ["OTHER=1\n", "APP_DIR=blog\n", "OTHER=2\nAPP_DIR=\"wiki\" # the other\n"][setting]);
    let app = ["shop", "blog", "wiki"][setting];
    let text = "ARG ROOT=apps/argenv\nFROM scratch\nARG ROOT\nARG APP=none\nENV DIR=$ROOT/${APP}\nCOPY $DIR/src /a\n";
    out.file("apps/argenv/Dockerfile", text);
    let ignored = root_ignored(world.knob("root.ignore"));
    out.truth("argenv", &[text, app], move |path| is_below(path, &format!("apps/argenv/{app}/src")) && !ignored(path));
}

fn mounts(world: &World, out: &mut Out) {
    out.service("mounts", "build: apps/mounts");
    let text = format!(
        "FROM scratch AS gen\nCOPY g /out\nFROM scratch AS unused\nCOPY other /o\nFROM curateme/python:1\nRUN --mount=type=bind,source=tools,target=/t --mount=type=cache,target=/c \\\n  # a comment in between\n  --mount=type=bind,from=gen,source=/out,target=/g true {}\n",
        world.knob("mounts.text")
    );
    out.file("apps/mounts/Dockerfile", &text);
    out.truth("mounts", &[&text], |path| is_below(path, "apps/mounts/tools") || is_below(path, "apps/mounts/g"));
}

fn ignore(world: &World, out: &mut Out) {
    out.service("ignore", "build: apps/ignore");
    let text = "FROM scratch\nCOPY . .\n";
    out.file("apps/ignore/Dockerfile", text);
    let form = world.knob("ignore.form");
    let patterns = [
        "",
        "*\n!src\nsrc/**/*.test.js\n",
        "# only sources\n*\n!src\nsrc/**/*.test.js\nnot-there\n",
        "**/*.md\n!docs/keep.md\n",
        "docs\nsrc/[a-c]*\n",
        "/docs/\n./src/[abc]*\n",
    ][form];
    if form > 0 {
        out.file("apps/ignore/.dockerignore", patterns);
    }
    out.truth("ignore", &[text], move |path| {
        let Some(rest) = below(path, "apps/ignore") else { return false };
        match form {
            0 => true,
            1 | 2 => is_below(rest, "src") && !rest.ends_with(".test.js"),
            3 => !rest.ends_with(".md") || rest == "docs/keep.md",
            _ => !is_below(rest, "docs") && !below(rest, "src").is_some_and(|name| name.starts_with(['a', 'b', 'c'])),
        }
    });
}

fn own_ignore(world: &World, out: &mut Out) {
    out.service("ownignore", "build: {context: apps/ownignore}");
    let text = "FROM scratch\nCOPY *.* /x/\n";
    out.file("apps/ownignore/Dockerfile", text);
    let form = world.knob("ownignore.form");
    let (general, own) = (matches!(form, 1 | 3 | 4), form >= 2);
    if general {
        out.file("apps/ownignore/.dockerignore", "*.md\n");
    }
    if own {
        out.file("apps/ownignore/Dockerfile.dockerignore", ["*.log\n", "*.log\n# more\n"][form % 2]);
    }
    out.truth("ownignore", &[text], move |path| {
        let Some(rest) = below(path, "apps/ownignore") else { return false };
        let first = rest.split('/').next().unwrap_or(rest);
        let ignored = match (general, own) {
            (_, true) => first.ends_with(".log"),
            (true, false) => first.ends_with(".md"),
            (false, false) => false,
        };
        first.contains('.') && !ignored
    });
}

fn bases(world: &World, out: &mut Out) {
    let present = world.knob("base.present") != 1;
    let (image, profile) = (["acme/base", "acme/base:v2"][world.knob("base.name")], world.knob("base.profile") == 1);
    let base = "FROM scratch\nCOPY f /f\n";
    out.file("apps/base/Dockerfile", base);
    if present {
        let profiles = if profile { "\nprofiles: [images]" } else { "" };
        out.service("base", &format!("build: apps/base\nimage: {image}{profiles}"));
        out.truth("base", &[base, image], |path| is_below(path, "apps/base/f")).active = !profile;
    }
    let child = format!("ARG BASE=acme/base\nFROM ${{BASE}}:latest\nCOPY c /c\nLABEL x={}\n", world.knob("child.text"));
    out.file("apps/child/Dockerfile", &child);
    out.service("child", "build: apps/child\nimage: docker.io/acme/child");
    let truth = out.truth("child", &[&child], |path| is_below(path, "apps/child/c"));
    if present && image == "acme/base" {
        truth.on.push("base");
    }
    out.file("apps/deep/Dockerfile", "FROM scratch\nCOPY --from=acme/child /c /c\nCOPY d /d\n");
    out.service("deep", "build: apps/deep");
    out.truth("deep", &[], |path| is_below(path, "apps/deep/d")).on.push("child");
}

fn contextual(_: &World, out: &mut Out) {
    let text = "FROM scratch\nCOPY s /s\n";
    out.file("apps/sibling/Dockerfile", text);
    out.service("sibling", "build: apps/sibling");
    out.truth("sibling", &[text], |path| is_below(path, "apps/sibling/s"));
    let text = "FROM scratch\nCOPY --from=other /s /s\nCOPY k /k\n";
    out.file("apps/contextual/Dockerfile", text);
    out.service(
        "contextual",
        "build:\n  context: apps/contextual\n  additional_contexts:\n    - other=service:sibling",
    );
    out.truth("contextual", &[text], |path| is_below(path, "apps/contextual/k")).on.push("sibling");
}

fn extended(world: &World, out: &mut Out) {
    let (mode, tpl) = (world.knob("extended.mode"), world.knob("extended.tpl"));
    let own = ["", "\nbuild: {args: [MODE=own]}", "\nbuild:\n  args:\n    MODE: own"][mode];
    out.service("extended", &format!("extends: {{file: common/base.yml, service: tpl}}{own}"));
    let yaml = format!(
        "services:\n  grand:\n    build: {{context: ./tpl, args: {{MODE: t{tpl}}}}}\n  tpl:\n    extends: grand\n    environment: {{A: \"{mode}\"}}\n"
    );
    out.file("common/base.yml", &yaml);
    let text = "FROM scratch\nARG MODE\nLABEL mode=$MODE\nCOPY m /m\n";
    out.file("common/tpl/Dockerfile", text);
    let mode = if mode == 0 { format!("t{tpl}") } else { "own".to_owned() };
    out.truth("extended", &[text, &mode], |path| is_below(path, "common/tpl/m"));
    // The included file has a service of its own.
    let label = world.knob("included.text");
    out.file("extra/compose.yml", "services:\n  included:\n    build: ./svc\n");
    let text = format!("FROM scratch\nCOPY i /i\nLABEL x={label}\n");
    out.file("extra/svc/Dockerfile", &text);
    out.truth("included", &[&text], |path| is_below(path, "extra/svc/i"));
}

fn overridden(world: &World, out: &mut Out) {
    out.service("overridden", "build: {context: apps/overridden, args: {V: '1', W: '1'}}\nports: ['80:80']");
    let text = "FROM scratch\nARG V\nARG W\nLABEL v=$V w=$W\nCOPY o /o\n";
    out.file("apps/overridden/Dockerfile", text);
    let (yaml, args) = [
        ("{environment: {A: '1'}}", "V=1 W=1"),
        ("{build: {args: {V: '2'}}}", "V=2 W=1"),
        ("{build: {args: !reset null}}", ""),
        ("{build: {args: !override {W: '3'}}, ports: !reset []}", "W=3"),
        ("{build: {args: [V=2]}}", "V=2 W=1"),
    ][world.knob("overridden.form")];
    out.file("compose.override.yml", &format!("services:\n  overridden: {yaml}\n"));
    out.truth("overridden", &[text, args], |path| is_below(path, "apps/overridden/o"));
}

fn anchored(world: &World, out: &mut Out) {
    out.service("anchored", "build:\n  <<: *common\n  context: apps/anchored");
    let text = "FROM scratch\nARG V\nLABEL v=$V\nCOPY a /a\n";
    out.file("apps/anchored/Dockerfile", text);
    out.truth("anchored", &[text, &world.knob("anchored.v").to_string()], |path| is_below(path, "apps/anchored/a"));
}

fn tool(world: &World, out: &mut Out) {
    let profile = world.knob("tool.profile") == 1;
    out.service("tool", &format!("build: apps/tool{}", if profile { "\nprofiles: [tools]" } else { "" }));
    let text = "FROM scratch\nCOPY t /t\n";
    out.file("apps/tool/Dockerfile", text);
    out.truth("tool", &[text], |path| is_below(path, "apps/tool/t")).active = !profile;
}

fn env(world: &World, out: &mut Out) {
    let variables = world.knob("env.variables");
    let yaml = format!(
        "build: apps/env\nenv_file: [env/app-keep.env, {{path: env/server.env, required: false}}]\nenvironment: {{A: \"{variables}\"}}\nconfigs: [cfg]\nsecrets: [key]\nvolumes: ['./conf/app-keep.conf:/c:ro', './conf/directory:/f', {{type: bind, source: ./Caddyfile, target: /d}}]"
    );
    out.service("env", &yaml);
    let text = "FROM scratch\nCOPY code /code\n";
    out.file("apps/env/Dockerfile", text);
    out.truth("env", &[text], |path| is_below(path, "apps/env/code"));
    out.service("pulled", "image: redis:7\nvolumes: ['./conf:/conf:ro']");
}

fn links(world: &World, out: &mut Out) {
    out.service("links", "build: apps/links");
    let text = "FROM scratch\nCOPY current/lib /lib\n";
    out.file("apps/links/Dockerfile", text);
    let version = 1 + world.knob("links.version");
    let link = File { mode: "120000", text: format!("versions/{version}") };
    out.files.insert("apps/links/current".to_owned(), link);
    out.truth("links", &[text], move |path| {
        path == "apps/links/current" || is_below(path, &format!("apps/links/versions/{version}/lib"))
    });
}

fn module(world: &World, out: &mut Out) {
    out.service("module", "build: apps/module");
    let text = "FROM scratch\nCOPY vendor/lib/src /v\n";
    out.file("apps/module/Dockerfile", text);
    let commit = format!("{:040x}", 0xabcd_0000_u64 + world.knob("module.commit") as u64);
    let module = |commit: &str| File { mode: "160000", text: commit.to_owned() };
    out.files.insert("apps/module/vendor/lib".to_owned(), module(&commit));
    out.files.insert("apps/module/vendor/other".to_owned(), module(&commit.replace('a', "f")));
    out.truth("module", &[text], |path| path == "apps/module/vendor/lib");
}

fn add(world: &World, out: &mut Out) {
    out.service("add", "build: apps/add");
    let text = ["FROM scratch\nADD static /s\n", "FROM scratch\nADD static https://example.org/x.tar /s/\n"]
        [world.knob("add.url")];
    out.file("apps/add/Dockerfile", text);
    out.truth("add", &[text], |path| is_below(path, "apps/add/static"));
}

fn onbuild(_: &World, out: &mut Out) {
    let base = "FROM scratch\nONBUILD COPY app /app\n";
    out.file("apps/onbuild/Dockerfile", base);
    out.service("onbuild", "build: apps/onbuild\nimage: acme/onbuild:3");
    out.truth("onbuild", &[base], |_| false);
    out.file("apps/triggered/Dockerfile", "FROM acme/onbuild:3\n");
    out.service("triggered", "build: apps/triggered");
    out.truth("triggered", &[], |path| is_below(path, "apps/triggered/app")).on.push("onbuild");
}

/// What only the server knows: it says `ada`.
fn unknown(_: &World, out: &mut Out) {
    out.service("unknown", "build: {context: apps/unknown, args: {WHO: '${SERVER_ONLY}'}}");
    let text = "FROM scratch\nARG WHO\nCOPY team/$WHO /t\n";
    out.file("apps/unknown/Dockerfile", text);
    out.truth("unknown", &[text], |path| is_below(path, "apps/unknown/team/ada"));
}

fn words(world: &World, out: &mut Out) {
    out.service("words", "build: apps/words");
    let ending = ["\n", "\r\n"][world.knob("words.text")];
    let text = "# escape=`\nfrom scratch as First\ncopy [\"a b\", \"/x/\"]\n\nFROM scratch AS second\nCOPY c `\n  # in between\n  /c\nfrom scratch\nCOPY --from=0 /x /x\nCOPY --from=SECOND /c /c\nCOPY --chown=1:1 ./e/ /e/\n".replace('\n', ending);
    out.file("apps/words/Dockerfile", &text);
    out.truth("words", &[&text], |path| {
        ["a b", "c", "e"].iter().any(|part| is_below(path, &format!("apps/words/{part}")))
    });
}

/// A named context with the name of a stage stands in its place.
fn replaced(world: &World, out: &mut Out) {
    let named = world.knob("replaced.named") == 0;
    let contexts = if named { ", additional_contexts: {deps: libs/deps}" } else { "" };
    out.service("replaced", &format!("build: {{context: apps/replaced{contexts}}}"));
    let text = "FROM scratch AS deps\nCOPY never /\nFROM scratch\nCOPY --from=deps / /d\n";
    out.file("apps/replaced/Dockerfile", text);
    let mark = if named { "named" } else { "" };
    out.truth("replaced", &[text, mark], move |path| match named {
        true => is_below(path, "libs/deps"),
        false => is_below(path, "apps/replaced/never"),
    });
}

/// A context that moves from one directory to another.
fn moved(world: &World, out: &mut Out) {
    let directory = ["one", "two"][world.knob("moved.context")];
    out.service("moved", &format!("build: {{context: {directory}, dockerfile: ../docker/moved}}"));
    let text = "FROM scratch\nCOPY keep /\n";
    out.file("docker/moved", text);
    out.truth("moved", &[text, directory], move |path| name_in(path, directory) == Some("keep"));
}
