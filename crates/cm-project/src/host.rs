//! A server, as the configuration or a flag names it.

use crate::sections::HostSection;
use crate::value::Template;
use cm_core::{Exit, Failure, Result};

/// A server. Its address is expanded when it is wanted: a machine that never talks
/// to the host needs none of its variables.
#[derive(Clone, Debug)]
pub struct HostSpec {
    /// Its name in `cm.toml`.
    pub name: String,
    /// The services that it is said to run; empty if it takes what others leave.
    pub services: Vec<String>,
    address: Template,
    checkout: Template,
    /// Whether the person named it on the command line.
    by_flag: bool,
}

/// The address that means this machine.
const LOCAL: &str = "local";

/// The variable by which the person allows that `cm.toml` means this machine.
const ALLOW_LOCAL: &str = "CM_ALLOW_LOCAL";

impl HostSpec {
    pub(crate) fn from_section(name: &str, section: &HostSection, project: &str) -> Self {
        HostSpec {
            name: name.to_owned(),
            services: section.services.iter().map(|service| service.as_ref().clone()).collect(),
            address: section.address.clone(),
            checkout: section.checkout.clone().unwrap_or_else(|| default_checkout(project)),
            by_flag: false,
        }
    }

    /// A host from a flag: `[NAME=]ADDRESS[:CHECKOUT]`, as in `me@server:~/shop`.
    /// Without a name, the address's host is the name; without a checkout, it is in
    /// the directory of the user's home that is called like the project.
    ///
    /// # Errors
    /// [`Exit::Usage`] if it is no address.
    pub fn from_flag(flag: &str, project: &str) -> Result<Self> {
        let (name, rest) = flag.split_once('=').map_or((None, flag), |(name, rest)| (Some(name), rest));
        let path = |after: &str| after.starts_with('~') || (after.starts_with('/') && !after.starts_with("//"));
        let split = rest.rsplit_once(':').filter(|(_, after)| path(after));
        let (address, checkout) = split.map_or((rest, None), |(address, checkout)| (address, Some(checkout)));
        let host = address.rsplit_once('@').map_or(address, |(_, host)| host);
        let host = host.strip_prefix("ssh://").unwrap_or(host);
        let name = name.unwrap_or_else(|| bare(host));
        let checked = check_address(address).and_then(|()| check_address(name));
        checked.map_err(|why| {
            Failure::new(Exit::Usage, "usage.host", format!("cannot use --host {flag:?}: {why}"))
                .hint("write it as user@server, user@server:~/checkout or name=user@server:~/checkout")
        })?;
        Ok(HostSpec {
            name: name.to_owned(),
            services: Vec::new(),
            address: Template::literal(address.replace('$', "$$")),
            checkout: checkout
                .map_or_else(|| default_checkout(project), |path| Template::literal(path.replace('$', "$$"))),
            by_flag: true,
        })
    }

    /// Whether a flag named it, and not `cm.toml`.
    pub fn is_by_flag(&self) -> bool {
        self.by_flag
    }

    /// `user@host` or `host`, with the environment's values.
    ///
    /// # Errors
    /// [`Exit::Config`] that names the variable that is not set, or what is wrong with the address.
    pub fn address(&self) -> Result<String> {
        let address = self.address.expand()?;
        check_address(&address)
            .map_err(|why| bad_address(&format!("host {:?}", self.name), self.address.as_written(), &why))?;
        // A branch that somebody pushed must not run commands on the machine that deploys it.
        if address == LOCAL && !self.by_flag && std::env::var_os(ALLOW_LOCAL).is_none_or(|value| value != "1") {
            let message =
                format!("cm.toml says that the host {:?} is this machine, and nobody allowed that", self.name);
            return Err(Failure::new(Exit::Config, "config.local-host", message)
                .hint(format!("name it yourself: --host {}=local, or export {ALLOW_LOCAL}=1", self.name)));
        }
        Ok(address)
    }

    /// The checkout on the host; `~` is the deploy user's home.
    ///
    /// # Errors
    /// [`Exit::Config`] that names the variable that is not set.
    pub fn checkout(&self) -> Result<String> {
        let path = self.checkout.expand()?;
        match odd_checkout(&path) {
            None => Ok(path),
            Some(why) => {
                let message = format!("the checkout of host {:?} ({path:?}) cannot be used: {why}", self.name);
                Err(Failure::new(Exit::Config, "config.bad-checkout", message)
                    .hint("write a directory of its own: ~/NAME in the deploy user's home, or one that begins with /"))
            }
        }
    }
}

/// Why no checkout can be at `path`.
fn odd_checkout(path: &str) -> Option<&'static str> {
    let first = path.split('/').next().unwrap_or_default();
    if path.contains(char::is_control) {
        Some("it holds a line break or another sign that cannot be seen")
    } else if first.starts_with('~') && first != "~" {
        Some("only the deploy user's own home has a short name; write this one in full")
    } else if !path.is_empty() && path.trim_matches('/').is_empty() {
        Some("it is the root of the server")
    } else {
        None
    }
}

/// The address of a node of a Swarm besides the first manager, `whose` being what it is; empty where its variable is.
///
/// # Errors
/// As [`HostSpec::address`].
pub(crate) fn node_address(whose: &str, written: &Template) -> Result<String> {
    let address = written.expand()?;
    let bad = |why: &str| bad_address(&format!("{whose} of [swarm]"), written.as_written(), why);
    match address.as_str() {
        "" => Ok(address),
        LOCAL => Err(bad("it is this machine")),
        other => check_address(other).map_err(|why| bad(&why)).map(|()| address),
    }
}

fn bad_address(whose: &str, written: &str, why: &str) -> Failure {
    let message = format!("the address of {whose} ({written:?}) cannot be used: {why}");
    Failure::new(Exit::Config, "config.bad-address", message)
        .hint("an address is user@host or an alias of the SSH configuration")
}

/// A host without its port; an IPv6 address has colons of its own.
fn bare(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None if host.matches(':').count() > 1 => host,
        None => host.split(':').next().unwrap_or(host),
    }
}

/// The checkout where none is said.
fn default_checkout(project: &str) -> Template {
    Template::literal(format!("~/{project}"))
}

/// An address must not be taken for an option, nor hold anything a name cannot.
fn check_address(address: &str) -> Result<(), String> {
    let (user, host) = address.rsplit_once('@').unwrap_or(("-", address));
    let odd = |c: char| c.is_whitespace() || c.is_control() || "'\"`$;&|<>(){}\\*?!".contains(c);
    match () {
        () if host.is_empty() => Err("it has no host".to_owned()),
        () if user.is_empty() => Err("the user before the \"@\" is empty".to_owned()),
        () if address.starts_with('-') || host.starts_with('-') => Err("it begins with \"-\"".to_owned()),
        () => match address.chars().find(|c| odd(*c)) {
            Some(c) => Err(format!("it contains {c:?}")),
            None => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_names_a_host() {
        let host = HostSpec::from_flag("web=me@server.example:~/shop", "x").expect("valid");
        assert_eq!(host.name, "web");
        assert_eq!(host.address().expect("literal"), "me@server.example");
        assert_eq!(host.checkout().expect("literal"), "~/shop");
        let host = HostSpec::from_flag("ssh://me@server:2222:/srv/shop", "x").expect("valid");
        assert_eq!((host.name.as_str(), host.address().expect("literal").as_str()), ("server", "ssh://me@server:2222"));
        assert_eq!(host.checkout().expect("literal"), "/srv/shop");
        for (flag, name, address, checkout) in [
            ("me@[::1]:2222:~/shop", "::1", "me@[::1]:2222", "~/shop"),
            ("[fd00::7]", "fd00::7", "[fd00::7]", "~/x"),
            ("me@fd00::7", "fd00::7", "me@fd00::7", "~/x"),
            ("ssh://server:2222", "server", "ssh://server:2222", "~/x"),
            ("ssh://me@[::1]:2222", "::1", "ssh://me@[::1]:2222", "~/x"),
            ("six=[::1]:/srv/x", "six", "[::1]", "/srv/x"),
        ] {
            let host = HostSpec::from_flag(flag, "x").expect(flag);
            let seen = (host.name.clone(), host.address().expect(flag), host.checkout().expect(flag));
            assert_eq!(seen, (name.to_owned(), address.to_owned(), checkout.to_owned()), "{flag}");
        }
        assert_eq!(HostSpec::from_flag("me@server", "shop").expect("valid").checkout().expect("literal"), "~/shop");
    }

    #[test]
    fn a_checkout_is_a_directory_of_its_own() {
        for (path, refused) in [
            ("~/shop", false),
            ("~", false),
            ("/srv/my shöp", false),
            ("-rf", false),
            ("~ada/shop", true),
            ("a\nb", true),
            ("/", true),
            ("//", true),
        ] {
            let section = HostSection {
                address: Template::literal("a"),
                checkout: Some(Template::literal(path)),
                services: Vec::new(),
            };
            let failure = HostSpec::from_section("web", &section, "shop").checkout().err();
            assert_eq!(
                failure.map(|failure| failure.code),
                refused.then(|| "config.bad-checkout".to_owned()),
                "{path:?}"
            );
        }
    }

    #[test]
    fn this_machine_is_a_host_only_for_who_says_so() {
        let section = HostSection { address: Template::literal("local"), checkout: None, services: Vec::new() };
        let failure = HostSpec::from_section("here", &section, "shop").address().expect_err("nobody allowed it");
        assert_eq!(failure.code, "config.local-host");
        assert_eq!(HostSpec::from_flag("here=local", "shop").expect("valid").address().expect("by flag"), "local");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for flag in ["", "-oProxyCommand=x", "me@-x", "@server", "me@", "a b", "me@$(id)"] {
            assert_eq!(HostSpec::from_flag(flag, "shop").expect_err(flag).exit, Exit::Usage, "{flag}");
        }
    }
}
