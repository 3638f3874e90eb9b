//! An address as people write it, as ssh wants it. `ssh` itself takes a port only in a URL or as an
//! option, and an IPv6 address in a URL not in every version; cm.toml takes what other tools take.

use crate::Target;
use cm_core::{Exit, Failure, Result};

/// The arguments of ssh for one address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Destination {
    port: Option<u16>,
    /// `user@host`, a host, an alias of the ssh configuration, or a URL whose user is encoded.
    name: String,
}

impl Destination {
    /// Reads `[USER@]HOST[:PORT]`, where HOST may be `[ADDRESS]`, and `ssh://…`.
    ///
    /// # Errors
    /// [`Exit::Config`] with `config.address` for anything else, and what would be an option.
    pub fn of(target: &Target) -> Result<Destination> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "@.:_-/[]%".contains(c);
        let address = target.address.as_str();
        let sound = !address.is_empty() && !address.starts_with('-') && address.chars().all(plain);
        let read = if sound { read(address) } else { None };
        read.ok_or_else(|| {
            let message = format!("host {:?} has the address {address:?}, which is not a valid `user@host`", target.name);
            Failure::new(Exit::Config, "config.address", message).hint(
                "set `address` in cm.toml, and the variables it names: user@host, user@host:2222, user@[::1]:2222, ssh://user@host:2222, or an alias of ~/.ssh/config",
            )
        })
    }

    /// `-p PORT -- NAME`.
    pub fn arguments(&self) -> Vec<String> {
        let port = self.port.iter().flat_map(|port| ["-p".to_owned(), port.to_string()]);
        port.chain(["--".to_owned(), self.name.clone()]).collect()
    }

    /// The same as a person types it after `ssh`.
    pub fn typed(&self) -> String {
        let port = self.port.map(|port| format!("-p {port} ")).unwrap_or_default();
        format!("{port}{}", self.name)
    }
}

/// The host of an address as a URL has it, an IPv6 address in brackets, without user and port; `None` for what is not
/// an address.
pub fn url_host(address: &str) -> Option<String> {
    let name = Destination::of(&Target::at("", address)).ok()?.name;
    let rest = name.strip_prefix("ssh://").unwrap_or(&name);
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    // Only an address that was not taken apart still has a port.
    let encoded = name.starts_with("ssh://");
    let host = if encoded { host.split(':').next().unwrap_or(host) } else { host };
    Some(if host.contains(':') { format!("[{host}]") } else { host.to_owned() })
}

fn read(address: &str) -> Option<Destination> {
    let of_url = address.strip_prefix("ssh://");
    if of_url.is_some_and(|rest| rest.split_once('@').is_some_and(|(user, _)| user.contains('%'))) {
        return Some(Destination { port: None, name: address.to_owned() });
    }
    let address = of_url.map_or(address, |rest| rest.strip_suffix('/').unwrap_or(rest));
    let (user, rest) = address.rsplit_once('@').map_or((None, address), |(user, rest)| (Some(user), rest));
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        // More than one colon is an IPv6 address.
        None => match rest.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (rest, None),
        },
    };
    let port =
        port.map(|port| port.parse::<u16>().ok().filter(|port| *port > 0)).map_or(Some(None), |port| port.map(Some))?;
    let sound = |word: &str| !word.is_empty() && !word.starts_with('-') && !word.contains(['[', ']', '/']);
    if !sound(host) || user.is_some_and(|user| !sound(user)) {
        return None;
    }
    let name = user.map_or(host.to_owned(), |user| format!("{user}@{host}"));
    Some(Destination { port, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> Result<Vec<String>> {
        let target = Target::at("web", address);
        Destination::of(&target).map(|destination| destination.arguments())
    }

    #[test]
    fn what_people_write_is_what_ssh_wants() {
        for (address, arguments) in [
            ("ada@web.example", "-- ada@web.example"),
            ("web", "-- web"),
            ("ada@web.example:2222", "-p 2222 -- ada@web.example"),
            ("web:2222", "-p 2222 -- web"),
            ("ada@[::1]:2222", "-p 2222 -- ada@::1"),
            ("[::1]", "-- ::1"),
            ("ada@fe80::1%eth0", "-- ada@fe80::1%eth0"),
            ("ssh://ada@web.example:2222", "-p 2222 -- ada@web.example"),
            ("ssh://ada@web.example/", "-- ada@web.example"),
            ("ssh://ada@[::1]:2222", "-p 2222 -- ada@::1"),
            ("ssh://[fd00::7]", "-- fd00::7"),
            ("ssh://a%40b@web:22", "-- ssh://a%40b@web:22"),
        ] {
            assert_eq!(of(address).expect(address).join(" "), arguments, "{address}");
        }
    }

    #[test]
    fn a_url_has_the_host_of_an_address_without_the_port_of_ssh() {
        for (address, host) in [
            ("ada@web.example:2222", "web.example"),
            ("web", "web"),
            ("ada@10.0.0.7", "10.0.0.7"),
            ("ada@[fd00::7]:2222", "[fd00::7]"),
            ("ada@fd00::7", "[fd00::7]"),
            ("ssh://ada@web.example:2222", "web.example"),
            ("ssh://a%40b@web:22", "web"),
        ] {
            assert_eq!(url_host(address).as_deref(), Some(host), "{address}");
        }
        assert_eq!(url_host("a b"), None);
        assert_eq!(Target::at("web", "ada@[::1]:2222").ssh_command(), "ssh -p 2222 ada@::1");
        let with = Target { ssh_config: Some("/c".into()), ..Target::at("web", "web") };
        assert_eq!(with.ssh_command(), "ssh -F /c web");
    }

    #[test]
    fn addresses_that_would_be_options_or_commands_are_refused() {
        for address in [
            "",
            "-oProxyCommand=id",
            "a b",
            "$(id)",
            "a;b",
            "u@h\n",
            "u@h:",
            "u@h:ssh",
            "u@h:0",
            "u@h:65536",
            "@h",
            "u@",
            "[::1",
            "[::1]22",
            "u@-h",
            "a/b",
            "ssh://",
            "ssh://a@b/path",
            "ssh://-oProxyCommand=id",
        ] {
            assert_eq!(of(address).expect_err(address).code, "config.address", "{address}");
        }
    }
}
