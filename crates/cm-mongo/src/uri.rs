//! The options of a URI. It is the application's own, written for its driver: what concerns how an
//! application works (pools, timeouts, retries, compression) is nothing to a backup, and what only
//! other drivers know is left out, as mongodump does. What says *where* and *as whom* is kept.

/// What is kept, in lower case.
const KEPT: [&str; 23] = [
    "authmechanism",
    "authmechanismproperties",
    "authsource",
    "directconnection",
    "loadbalanced",
    "maxstalenessseconds",
    "proxyhost",
    "proxypassword",
    "proxyport",
    "proxyusername",
    "readconcernlevel",
    "readpreference",
    "readpreferencetags",
    "replicaset",
    "srvmaxhosts",
    "srvservicename",
    "ssl",
    "tls",
    "tlsallowinvalidcertificates",
    "tlscafile",
    "tlscertificatekeyfile",
    "tlscertificatekeyfilepassword",
    "tlsinsecure",
];

/// What every driver knows and a backup does without, in lower case.
const NOT_FOR_A_BACKUP: [&str; 25] = [
    "appname",
    "compressors",
    "connecttimeoutms",
    "heartbeatfrequencyms",
    "j",
    "journal",
    "localthresholdms",
    "maxconnecting",
    "maxidletimems",
    "maxpoolsize",
    "minpoolsize",
    "retryreads",
    "retrywrites",
    "safe",
    "servermonitoringmode",
    "serverselectiontimeoutms",
    "sockettimeoutms",
    "timeoutms",
    "uuidrepresentation",
    "w",
    "waitqueuemultiple",
    "waitqueuetimeoutms",
    "wtimeout",
    "wtimeoutms",
    "zlibcompressionlevel",
];

/// The older names of options, in lower case.
const OLDER: [(&str, &str); 2] =
    [("sslcertificateauthorityfile", "tlsCAFile"), ("sslclientcertificatekeyfile", "tlsCertificateKeyFile")];

/// A URI for a backup, and the names of the options that were left out although somebody may mean
/// something by them.
pub fn for_a_backup(uri: &str) -> (String, Vec<String>) {
    // A password may hold a question mark, which is no option yet.
    let authority = uri.find("://").map_or(0, |at| at + 3);
    let path = uri[authority..].find('/').map_or(authority, |at| authority + at);
    let Some(start) = uri[path..].find('?').map(|at| path + at) else {
        return (uri.to_owned(), Vec::new());
    };
    let (place, options) = (&uri[..start], &uri[start + 1..]);
    let (mut kept, mut ignored) = (Vec::new(), Vec::new());
    for option in options.split(['&', ';']).filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let key = name.to_lowercase();
        match OLDER.iter().find(|(older, _)| *older == key) {
            Some((_, newer)) => kept.push(format!("{newer}={value}")),
            None if KEPT.contains(&key.as_str()) => kept.push(option.to_owned()),
            None if NOT_FOR_A_BACKUP.contains(&key.as_str()) => {}
            None => ignored.push(name.to_owned()),
        }
    }
    // Without options the path may end in a name, or in nothing at all.
    let joined = if kept.is_empty() { place.to_owned() } else { format!("{place}?{}", kept.join("&")) };
    (joined, ignored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_where_and_as_whom_stays() {
        let uri = "mongodb://u:p%40@h:1,i:2/shop?authSource=admin&replicaSet=rs0&socketTimeoutMS=1&maxPoolSize=0&tls=true&w=majority";
        let kept = "mongodb://u:p%40@h:1,i:2/shop?authSource=admin&replicaSet=rs0&tls=true";
        assert_eq!(for_a_backup(uri), (kept.to_owned(), vec![]));
    }

    #[test]
    fn what_other_drivers_know_is_left_out_and_told() {
        let uri = "mongodb://h/?useNewUrlParser=true&useUnifiedTopology=true&family=4&keepAlive=true&autoReconnect&tlsAllowInvalidHostnames=true";
        let (kept, ignored) = for_a_backup(uri);
        let told = [
            "useNewUrlParser",
            "useUnifiedTopology",
            "family",
            "keepAlive",
            "autoReconnect",
            "tlsAllowInvalidHostnames",
        ];
        assert_eq!((kept.as_str(), ignored), ("mongodb://h/", told.map(str::to_owned).to_vec()));
    }

    #[test]
    fn what_has_no_options_is_as_it_was() {
        for uri in ["", "mongodb://h", "mongodb://u:a?b@h/shop", "no uri"] {
            assert_eq!(for_a_backup(uri), (uri.to_owned(), vec![]));
        }
        assert_eq!(for_a_backup("mongodb://h?appName=@x@&tls=true").0, "mongodb://h?tls=true");
    }
}
