//! The Debian package: the same bytes twice, and a Debian that knew nothing of cm before.
//! It is made as `make deb` makes it, only of the programs under test, and not compressed.

use cm_testkit::{Home, bin_dir, repository};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Makes the package in `directory`.
fn package(directory: &Path) -> PathBuf {
    let output = Command::new(repository().join("scripts/package.sh"))
        .arg(directory)
        .env("BUILT", bin_dir())
        .env("DEB_COMPRESS", "-Znone")
        .output()
        .expect("scripts/package.sh");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(stdout.trim())
}

/// Runs a script in a new Debian that has the package's directory at /package.
fn in_a_clean_debian(directory: &Path, script: &str) -> String {
    let mount = format!("{}:/package:ro", directory.display());
    // The machine's own apt knows of proxies and clocks; what it says goes for the container too.
    let own = Command::new("apt-config").arg("dump").output().map(|output| output.stdout).unwrap_or_default();
    let own = String::from_utf8_lossy(&own).into_owned();
    let wanted = ["Acquire::Check-", "Acquire::http::Proxy", "Acquire::https::Proxy"];
    let lines = own.lines().filter(|line| wanted.iter().any(|begin| line.starts_with(begin)));
    std::fs::write(directory.join("apt.conf"), lines.collect::<Vec<_>>().join("\n")).expect("apt.conf");
    let output = Command::new("docker")
        .args(["run", "--rm", "--network", "host", "--volume", &mount, "--env", "DEBIAN_FRONTEND=noninteractive"])
        .args(["cm-sandbox/base:trixie", "sh", "-euc", script])
        .stdin(Stdio::null())
        .output()
        .expect("docker");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    stdout.into_owned()
}

const INSTALL_USE_REMOVE: &str = r#"
cp /package/apt.conf /etc/apt/apt.conf.d/90-machine
for program in git ssh cm-lock; do ! command -v $program; done
apt-get -qq update >/dev/null
apt-get -qq install --no-install-recommends -o Dpkg::Use-Pty=0 /package/*.deb >/dev/null 2>&1
command -v git ssh >/dev/null
for program in lock detect backup build health verify rollback record; do cm-$program --version; done
deploy-to-vps.sh --help | head -n 1
CM_COMPLETE=bash _CLAP_COMPLETE_INDEX=1 cm-record -- cm-record hist; echo
# The first steps, as somebody who is no root.
useradd -m ada && cd /home/ada
cat >compose.yaml <<'YAML'
services:
  web:
    build: .
YAML
printf 'FROM scratch\n' >Dockerfile
chown -R ada: /home/ada
run() { su ada -c "cd && git config --global user.email a@b.c && git config --global user.name Ada && $1"; }
run 'git init -q -b main && git add . && git commit -qm begin && cm-detect --init --host ada@server.example 2>&1' | grep -c cm.toml
run 'test -s cm.toml'
apt-get -qq purge cm-deploy >/dev/null 2>&1
find / -xdev -name 'cm-*' -not -path '/proc/*' -not -path '/home/*' -not -path '/var/*'
"#;

#[test]
fn it_installs_works_and_leaves_nothing() {
    let home = Home::new();
    let images = Command::new(repository().join("scripts/sandbox")).arg("images").status().expect("scripts/sandbox");
    assert!(images.success(), "`scripts/setup.sh --tests` installs what it needs");
    let (one, two) = (home.path().join("one"), home.path().join("two"));
    let (package_one, package_two) = (package(&one), package(&two));
    assert_eq!(package_one.file_name(), package_two.file_name());
    let [first, second] = [&package_one, &package_two].map(|file| std::fs::read(file).expect("a package"));
    assert!(first == second, "two packages of the same programs differ: diffoscope says where");
    std::fs::remove_dir_all(&two).expect("gone");

    let said = in_a_clean_debian(&one, INSTALL_USE_REMOVE);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 11, "nothing is left after a purge: {said}");
    for (line, name) in
        lines.iter().zip(["lock", "detect", "backup", "build", "health", "verify", "rollback", "record"])
    {
        assert!(line.starts_with(&format!("cm-{name} ")), "{said}");
    }
    assert_eq!((lines[8], lines[9]), ("Usage: deploy-to-vps.sh [OPTIONS]", "history"));
}
