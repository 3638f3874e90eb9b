//! What Docker, Compose and the system say when something outside of the release is in the way,
//! told apart by their words: each has a code of its own, and the cure of that code. One table,
//! because the same words come from a build, from a start and from a way back.

use cm_core::{Failure, codes};

/// What is said, in lower case, and the code. The first that fits counts: what says more comes first.
const KNOWN: [(&str, &str); 198] = [
    ("no space left on device", "build.disk-full"),
    // Git's own words.
    ("out of diskspace", "build.disk-full"),
    ("disk quota exceeded", "build.quota"),
    ("have enough free space in", "build.disk-full"),
    ("is too new. maximum supported api version", "engine.api-version"),
    ("is too old. minimum supported api version", "engine.api-version"),
    ("port is already allocated", "build.port-in-use"),
    ("cannot assign requested address", "build.no-address"),
    ("container networking: address already in use", "build.address-in-use"),
    ("error response from daemon: address already in use", "build.address-in-use"),
    ("address already in use", "build.port-in-use"),
    ("ports are not available", "build.port-in-use"),
    ("permission denied while trying to connect", "engine.permission"),
    ("cannot connect to the docker daemon", "engine.down"),
    ("failed to connect to the docker api", "engine.down"),
    ("is the docker daemon running", "engine.down"),
    ("error during connect", "engine.down"),
    ("is already in use by container", "build.name-in-use"),
    ("non-overlapping ipv4 address pool", "build.no-address-pool"),
    ("predefined address pools have been fully subnetted", "build.no-address-pool"),
    ("pool overlaps with other one on this address space", "build.no-address-pool"),
    ("no available ipv4 addresses on this network", "build.no-address-pool"),
    ("incorrect label com.docker.compose.network", "build.foreign-network"),
    ("exists but was not created by compose", "build.foreign-network"),
    ("already exists in network", "build.stale-endpoint"),
    ("no chain/target/match by that name", "build.firewall"),
    ("iptables failed", "build.firewall"),
    ("failed to create nat chain", "build.firewall"),
    ("unable to enable dnat rule", "build.firewall"),
    ("<=> sandbox", "build.kernel"),
    ("has active endpoints", "build.network-busy"),
    ("user configured subnets", "build.subnet"),
    ("does not belong to any of this network", "build.subnet"),
    ("no configured subnet", "build.subnet"),
    ("conflicting options: ", "build.network-mode"),
    ("only for containers in user defined networks", "build.network-mode"),
    ("cannot join network of a non running container", "build.network-mode"),
    ("joining network namespace of container", "build.network-mode"),
    ("is marked for removal and cannot be started", "build.removing"),
    ("removal of container", "build.removing"),
    ("tried to kill container, but did not receive an exit event", "build.cannot-stop"),
    ("cannot kill container", "build.cannot-stop"),
    ("cannot stop container", "build.cannot-stop"),
    ("could not kill container", "build.cannot-stop"),
    ("unable to remove filesystem", "build.cannot-stop"),
    ("device or resource busy", "build.cannot-stop"),
    ("no such container", "build.gone"),
    ("input/output error", "build.disk-broken"),
    ("structure needs cleaning", "build.disk-broken"),
    ("error creating overlay mount", "build.disk-broken"),
    ("too many open files", "build.open-files"),
    ("file watchers reached", "build.open-files"),
    ("inotify_add_watch", "build.open-files"),
    ("apparmor profile", "build.security"),
    ("seccomp filter", "build.security"),
    ("relabel failed", "build.security"),
    ("error setting rlimit", "build.limits"),
    ("error setting cgroup config", "build.cgroup"),
    ("unable to apply cgroup", "build.cgroup"),
    ("cgroup mountpoint does not exist", "build.cgroup"),
    ("error setting sysctl", "build.sysctl"),
    ("in a separate kernel namespace", "build.sysctl"),
    ("closing transport due to", "build.builder-ended"),
    ("error reading from server", "build.builder-ended"),
    ("frontend grpc server closed unexpectedly", "build.builder-ended"),
    ("code = unavailable", "build.builder-ended"),
    ("parent snapshot", "build.cache"),
    ("snapshot does not exist", "build.cache"),
    ("layer does not exist", "build.cache"),
    ("content digest sha256", "build.cache"),
    ("failed to prepare extraction snapshot", "build.cache"),
    ("failed to get layer", "build.cache"),
    ("filesystem layer verification failed", "build.cache"),
    ("max depth exceeded", "build.layers"),
    ("sockets: ssh_auth_sock", "build.no-ssh-agent"),
    ("invalid empty ssh agent socket", "build.no-ssh-agent"),
    ("unset ssh forward key", "build.no-ssh-agent"),
    ("granting entitlement", "build.entitlement"),
    ("for the docker driver", "build.builder"),
    ("exporting manifest lists", "build.builder"),
    ("failed to solve: secret ", "build.no-secret"),
    ("declared as external, but could not be found", "build.no-network"),
    ("could not be attached to network", "build.no-network"),
    ("error response from daemon: network", "build.no-network"),
    ("container networking: network", "build.no-network"),
    ("external volume", "build.no-volume"),
    ("bind source path does not exist", "build.no-file"),
    ("error while creating mount source path", "build.no-file"),
    ("required by secret", "build.no-secret"),
    ("unsupported external secret", "build.no-secret"),
    ("secret file", "build.no-secret"),
    ("could not parse secrets", "build.no-secret"),
    ("are you trying to mount a directory onto a file", "build.no-file"),
    ("not a directory: unknown", "build.no-file"),
    ("could not select device driver", "build.no-device"),
    ("error gathering device information", "build.no-device"),
    ("unknown or invalid runtime name", "build.no-device"),
    ("unknown runtime specified", "build.no-device"),
    ("error looking up", "build.no-plugin"),
    ("failed to initialize logging driver", "build.log-driver"),
    ("range of cpus is from", "build.limits"),
    ("minimum memory limit allowed", "build.limits"),
    ("toomanyrequests", "build.rate-limit"),
    ("pull rate limit", "build.rate-limit"),
    ("429 too many requests", "build.rate-limit"),
    ("pull access denied", "build.pull-denied"),
    ("requested access to the resource is denied", "build.pull-denied"),
    ("no basic auth credentials", "build.pull-denied"),
    ("unauthorized: ", "build.pull-denied"),
    ("error getting credentials", "build.pull-denied"),
    ("denied: denied", "build.pull-denied"),
    ("401 unauthorized", "build.pull-denied"),
    ("403 forbidden", "build.pull-denied"),
    ("authentication required", "build.pull-denied"),
    ("name unknown", "build.pull-denied"),
    ("insufficient_scope", "build.pull-denied"),
    ("no match for platform in manifest", "build.platform"),
    ("no matching manifest for", "build.platform"),
    ("does not match the specified platform", "build.platform"),
    ("not provide the specified platform", "build.platform"),
    ("cannot be used on this platform", "build.platform"),
    ("exec format error", "build.platform"),
    ("manifest unknown", "build.no-tag"),
    ("not found: manifest", "build.no-tag"),
    ("certificate signed by unknown authority", "build.registry"),
    ("x509: ", "build.registry"),
    ("server gave http response to https client", "build.registry"),
    ("lookup registry", "build.registry"),
    ("no such host", "build.registry"),
    ("temporary failure in name resolution", "build.registry"),
    ("temporary failure resolving", "build.registry"),
    ("could not resolve host", "build.registry"),
    ("eai_again", "build.registry"),
    ("getaddrinfo enotfound", "build.registry"),
    ("code etimedout", "build.registry"),
    ("code econnreset", "build.registry"),
    ("proxyconnect tcp", "build.registry"),
    ("502 bad gateway", "build.registry-down"),
    ("503 service unavailable", "build.registry-down"),
    ("504 gateway time", "build.registry-down"),
    ("download failed after attempts", "build.registry"),
    ("certificate_verify_failed", "build.registry"),
    ("certificate verify failed", "build.registry"),
    ("self-signed certificate in certificate chain", "build.registry"),
    ("self signed certificate in certificate chain", "build.registry"),
    ("deadlineexceeded", "build.registry"),
    ("is not valid yet", "build.clock"),
    ("hash sum mismatch", "build.packages"),
    ("unable to locate package", "build.packages"),
    ("unable to fetch some archives", "build.packages"),
    ("no matching distribution found", "build.packages"),
    ("unable to select packages", "build.packages"),
    ("npm error code e404", "build.packages"),
    ("npm err! code e404", "build.packages"),
    ("npm error code etarget", "build.packages"),
    ("can only install packages when your package.json and package-lock", "build.lockfile"),
    ("err_pnpm_outdated_lockfile", "build.lockfile"),
    ("the lockfile would have been modified by this install", "build.lockfile"),
    ("your lockfile needs to be updated", "build.lockfile"),
    ("changed significantly since poetry.lock was last generated", "build.lockfile"),
    ("needs to be updated but --locked was passed", "build.lockfile"),
    ("updates to go.mod needed", "build.lockfile"),
    ("missing go.sum entry", "build.lockfile"),
    ("tls handshake timeout", "build.registry"),
    ("client.timeout exceeded", "build.registry"),
    ("failed to do request", "build.registry"),
    ("failed to resolve source metadata", "build.no-tag"),
    ("failed to resolve reference", "build.no-tag"),
    ("no such image", "build.no-image"),
    ("invalid reference format", "build.image-name"),
    ("buildx component is missing", "build.no-buildx"),
    ("compose build requires buildx", "build.no-buildx"),
    ("'buildx' is not a docker command", "build.no-buildx"),
    ("unknown command: docker buildx", "build.no-buildx"),
    ("option requires buildkit", "build.no-buildx"),
    ("unknown flag: mount", "build.no-buildx"),
    ("cannot allocate memory", "build.out-of-memory"),
    ("exit code: 137", "build.out-of-memory"),
    ("signal: killed", "build.out-of-memory"),
    ("signal: 9", "build.out-of-memory"),
    ("killed signal terminated program", "build.out-of-memory"),
    ("javascript heap out of memory", "build.out-of-memory"),
    ("java.lang.outofmemoryerror", "build.out-of-memory"),
    ("runtime: out of memory", "build.out-of-memory"),
    ("std::bad_alloc", "build.out-of-memory"),
    ("dependency failed to start", "build.dependency"),
    ("failed to compute cache key", "build.context"),
    ("failed to calculate checksum", "build.context"),
    ("failed to read dockerfile", "build.context"),
    ("dockerfile parse error", "build.dockerfile"),
    ("could not be found in dockerfile", "build.dockerfile"),
    ("target stage \"", "build.dockerfile"),
    ("error mounting", "build.mount"),
    ("invalid mount config", "build.mount"),
    ("failed to mount local volume", "build.mount"),
    ("\": permission denied", "build.not-executable"),
    ("executable file not found in $path", "build.no-command"),
    ("no such file or directory: unknown", "build.no-command"),
];

/// The code for what was said on a host, if anything in it is known.
pub fn code(said: &str) -> Option<&'static str> {
    let said = said.to_lowercase();
    KNOWN.iter().find(|(words, _)| said.contains(words)).map(|(_, code)| *code)
}

/// Whether what is known can be the cause of a failure with that code. Git, jobs and the processes of services
/// use the same words of things of their own; a full disk and a quota are one for all.
fn is_about(known: &str, code: &str) -> bool {
    ["build.disk-full", "build.quota"].contains(&known)
        || ["build.", "engine.", "compose.", "release.start"].iter().any(|own| code.starts_with(own))
}

/// The failure with the code and the cure of what is known about its words; as it was if nothing is.
pub fn cured(host: &str, failure: Failure) -> Failure {
    let known = code(&failure.to_string()).filter(|code| is_about(code, &failure.code));
    let Some(code) = known else { return failure };
    let hint = codes::cure(code).map(|cure| format!("on {host}: {cure}"));
    Failure { code: code.to_owned(), hint: hint.or(failure.hint), ..failure }
}

#[cfg(test)]
mod tests {
    use super::{KNOWN, code, cured};
    use cm_core::{Exit, Failure, codes};

    #[test]
    fn what_docker_compose_and_the_system_say_has_a_code_of_its_own() {
        for (said, wanted) in [
            ("write /x: no space left on device", "build.disk-full"),
            ("mkdir /var/lib/docker/tmp/x: disk quota exceeded", "build.quota"),
            ("Bind for 0.0.0.0:80 failed: port is already allocated", "build.port-in-use"),
            ("listen tcp4 0.0.0.0:80: bind: address already in use", "build.port-in-use"),
            ("permission denied while trying to connect to the Docker daemon socket", "engine.permission"),
            ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "engine.down"),
            (
                "Conflict. The container name \"/web\" is already in use by container \"0a1b\". You have to remove",
                "build.name-in-use",
            ),
            (
                "could not find an available, non-overlapping IPv4 address pool among the defaults",
                "build.no-address-pool",
            ),
            ("all predefined address pools have been fully subnetted", "build.no-address-pool"),
            ("network front declared as external, but could not be found", "build.no-network"),
            ("Error response from daemon: network front not found", "build.no-network"),
            ("external volume \"data\" not found", "build.no-volume"),
            ("invalid mount config for type \"bind\": bind source path does not exist: /srv/key.pem", "build.no-file"),
            ("environment variable \"KEY\" required by secret \"key\" is not set", "build.no-secret"),
            (
                "pull access denied for shop/web, repository does not exist or may require 'docker login'",
                "build.pull-denied",
            ),
            ("toomanyrequests: You have reached your pull rate limit.", "build.rate-limit"),
            ("no matching manifest for linux/arm64/v8 in the manifest list entries", "build.platform"),
            ("exec /entrypoint.sh: exec format error", "build.platform"),
            ("manifest for redis:99 not found: manifest unknown: manifest unknown", "build.no-tag"),
            ("dial tcp: lookup registry-1.docker.io: no such host", "build.registry"),
            ("compose build requires buildx 0.17 or later", "build.no-buildx"),
            (
                "process \"/bin/sh -c npm run build\" did not complete successfully: exit code: 137",
                "build.out-of-memory",
            ),
            ("dependency failed to start: container shop-db-1 is unhealthy", "build.dependency"),
            ("failed to bind host port for 10.0.0.9:80: cannot assign requested address", "build.no-address"),
            (
                "Error response from daemon: failed to set up container networking: Address already in use",
                "build.address-in-use",
            ),
            ("failed to bind host port 0.0.0.0:80/tcp: address already in use", "build.port-in-use"),
            (
                "network front was found but has incorrect label com.docker.compose.network set to \"\"",
                "build.foreign-network",
            ),
            ("endpoint with name shop-web-1 already exists in network shop_default", "build.stale-endpoint"),
            ("iptables: No chain/target/match by that name.", "build.firewall"),
            ("failed to set up container networking: network 0a1b not found", "build.no-network"),
            ("error while creating mount source path '/srv/x': mkdir /srv/x: read-only file system", "build.no-file"),
            ("could not parse secrets: [id=token,src=token]: failed to stat token", "build.no-secret"),
            ("could not select device driver \"nvidia\" with capabilities: [[gpu]]", "build.no-device"),
            ("unknown or invalid runtime name: nvidia", "build.no-device"),
            ("error looking up logging plugin loki: plugin \"loki\" not found", "build.no-plugin"),
            (
                "failed to initialize logging driver: dial tcp 127.0.0.1:514: connect: connection refused",
                "build.log-driver",
            ),
            ("Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available", "build.limits"),
            ("Head \"https://ghcr.io/v2/shop/web/manifests/1\": denied: denied", "build.pull-denied"),
            ("failed to resolve reference: unexpected status from HEAD request: 403 Forbidden", "build.pull-denied"),
            ("failed to authorize: failed to fetch oauth token: 401 Unauthorized", "build.pull-denied"),
            ("image was found but does not provide the specified platform (linux/arm64)", "build.platform"),
            ("x509: certificate has expired or is not yet valid", "build.registry"),
            ("http: server gave HTTP response to HTTPS client", "build.registry"),
            ("net/http: request canceled (Client.Timeout exceeded while awaiting headers)", "build.registry"),
            ("failed to resolve source metadata: failed to do request: dial tcp: i/o timeout", "build.registry"),
            ("E: Temporary failure resolving 'packages.example.org'", "build.registry"),
            ("failed to resolve source metadata for docker.io/library/redis:99: not found", "build.no-tag"),
            ("Error response from daemon: No such image: shop/web:latest", "build.no-image"),
            ("invalid reference format", "build.image-name"),
            ("the --mount option requires BuildKit", "build.no-buildx"),
            ("c++: fatal error: Killed signal terminated program cc1plus", "build.out-of-memory"),
            ("process didn't exit successfully: (signal: 9, SIGKILL: kill)", "build.out-of-memory"),
            ("failed to compute cache key: \"/dist\": not found", "build.context"),
            ("exec: \"/entrypoint.sh\": permission denied: unknown", "build.not-executable"),
            ("exec: \"/app/run\": stat /app/run: no such file or directory: unknown", "build.no-command"),
            ("exec: \"gunicorn\": executable file not found in $PATH: unknown", "build.no-command"),
            (
                "Error response from daemon: client version 1.24 is too old. Minimum supported API version is 1.44, please upgrade your client to a newer version",
                "engine.api-version",
            ),
            (
                "Error response from daemon: client version 1.52 is too new. Maximum supported API version is 1.47",
                "engine.api-version",
            ),
            (
                "failed to set up container networking: driver failed programming external connectivity on endpoint shop-web-1: Unable to enable DNAT rule:  (iptables failed: iptables --wait -t nat -A DOCKER)",
                "build.firewall",
            ),
            (
                "failed to create endpoint shop-web-1 on network shop_default: failed to add the host (veth1a2b) <=> sandbox (veth3c4d) pair interfaces: operation not supported",
                "build.kernel",
            ),
            ("error while removing network: network shop_default id 0a1b has active endpoints", "build.network-busy"),
            (
                "invalid config for network front: user specified IP address is supported only when connecting to networks with user configured subnets",
                "build.subnet",
            ),
            (
                "Error response from daemon: conflicting options: port publishing and the container type network mode",
                "build.network-mode",
            ),
            ("cannot join network of a non running container: 0a1b", "build.network-mode"),
            ("Error response from daemon: container is marked for removal and cannot be started", "build.removing"),
            ("Error response from daemon: removal of container 0a1b is already in progress", "build.removing"),
            (
                "Error response from daemon: cannot stop container: 0a1b: tried to kill container, but did not receive an exit event",
                "build.cannot-stop",
            ),
            ("Error response from daemon: No such container: 0a1b", "build.gone"),
            ("open /var/lib/docker/overlay2/0a1b/link: input/output error", "build.disk-broken"),
            ("Error: ENOSPC: System limit for number of file watchers reached, inotify", "build.open-files"),
            ("accept tcp: too many open files", "build.open-files"),
            (
                "unable to start container process: error during container init: unable to apply apparmor profile: apparmor failed to apply profile",
                "build.security",
            ),
            (
                "error setting rlimits for ready process: error setting rlimit type 7: operation not permitted",
                "build.limits",
            ),
            (
                "unable to apply cgroup configuration: failed to write 4242: open /sys/fs/cgroup/cgroup.procs",
                "build.cgroup",
            ),
            ("open /proc/sys/net/core/somaxconn_x: no such file: error setting sysctl", "build.sysctl"),
            (
                "failed to receive status: rpc error: code = Unavailable desc = error reading from server: EOF",
                "build.builder-ended",
            ),
            ("failed to solve: frontend grpc server closed unexpectedly", "build.builder-ended"),
            (
                "failed to solve: failed to prepare extraction snapshot \"extract-1 sha256:0a\": parent snapshot sha256:1b does not exist: not found",
                "build.cache",
            ),
            (
                "failed to export image: failed to create image: failed to get layer sha256:0a: layer does not exist",
                "build.cache",
            ),
            ("failed to register layer: max depth exceeded", "build.layers"),
            ("failed to solve: invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set", "build.no-ssh-agent"),
            (
                "failed to solve: granting entitlement security.insecure is not allowed by build daemon configuration",
                "build.entitlement",
            ),
            ("ERROR: Multi-platform build is not supported for the docker driver.", "build.builder"),
            ("failed to solve: secret npm_token: not found", "build.no-secret"),
            ("manifest unknown: name unknown: repository shop/web not found", "build.pull-denied"),
            (
                "npm error network request to https://registry.npmjs.org/x failed, reason: getaddrinfo ENOTFOUND registry.npmjs.org",
                "build.registry",
            ),
            ("proxyconnect tcp: dial tcp 10.0.0.1:3128: connect: connection refused", "build.registry"),
            ("received unexpected HTTP status: 503 Service Unavailable", "build.registry-down"),
            ("ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED]", "build.registry"),
            ("failed to solve: DeadlineExceeded: context deadline exceeded", "build.registry"),
            (
                "E: Release file for http://deb.debian.org/debian/dists/trixie/InRelease is not valid yet (invalid for another 2h 3min 4s).",
                "build.clock",
            ),
            ("E: Unable to locate package libfoo-dev", "build.packages"),
            ("ERROR: No matching distribution found for fastapi==9.9", "build.packages"),
            (
                "npm error `npm ci` can only install packages when your package.json and package-lock.json or npm-shrinkwrap.json are in sync.",
                "build.lockfile",
            ),
            ("ERR_PNPM_OUTDATED_LOCKFILE  Cannot install with \"frozen-lockfile\"", "build.lockfile"),
            (
                "pyproject.toml changed significantly since poetry.lock was last generated. Run `poetry lock` to fix the lock file.",
                "build.lockfile",
            ),
            (
                "error: the lock file /app/Cargo.lock needs to be updated but --locked was passed to prevent this",
                "build.lockfile",
            ),
            ("go: updates to go.mod needed; to update it: go mod tidy", "build.lockfile"),
            ("failed to solve: dockerfile parse error on line 3: unknown instruction: EXECUTE", "build.dockerfile"),
            ("failed to solve: target stage \"prod\" could not be found", "build.dockerfile"),
            ("error mounting \"/proc/1/x\" to rootfs at \"/x\": permission denied", "build.mount"),
            (
                "failed to mount local volume: mount :/export:/var/lib/docker/volumes/x/_data, flags: 0x0: connection refused",
                "build.mount",
            ),
        ] {
            assert_eq!(code(said), Some(wanted), "{said}");
        }
        assert_eq!(code("exit code: 1"), None);
        let failed =
            |code: &str, said: &str| cured("web", Failure::new(Exit::Build, code, "it failed").cause(said)).code;
        for own in ["checkout.fetch", "release.failed", "rollout.unhealthy"] {
            assert_eq!(failed(own, "Could not resolve hostname git.example"), own);
            assert_eq!(failed(own, "write: no space left on device"), "build.disk-full");
            assert_eq!(failed(own, "write: Disk quota exceeded"), "build.quota");
        }
    }

    #[test]
    fn every_code_has_a_cure_and_the_host_is_named() {
        for (words, code) in KNOWN {
            assert!(codes::cure(code).is_some(), "{code}");
            let failure = cured("web", Failure::new(Exit::Build, "build.up", "it failed").cause(words));
            assert_eq!(failure.code, code);
            assert!(failure.hint.is_some_and(|hint| hint.starts_with("on web: ")), "{code}");
        }
    }
}
