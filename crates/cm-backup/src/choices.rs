//! The values that flags choose from. The libraries know no command line: each of these becomes
//! a value of theirs.

use crate::run_on::RunOn;
use clap::ValueEnum;
use cm_archive::codec::Compressed;
use cm_mongo::ReadFrom;
use cm_mongo::moment::Wanted;

/// Where the program works.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Place {
    /// On the server, if this version is installed there.
    #[default]
    Auto,
    /// On this machine, through a tunnel.
    Here,
    /// On the server in any case.
    Server,
}

/// Who reads the database and writes the archive.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Reader {
    /// cm-backup itself.
    #[default]
    Native,
    /// The mongodump in the database's container.
    Mongodump,
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, in one member or many: what mongorestore reads.
    #[default]
    Gzip,
    /// zstd, in one frame or many: faster and smaller; for mongorestore, unpack it first.
    Zstd,
}

/// Whether all of a backup has to be of one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Consistency {
    /// Where the server can; the manifest says whether it is.
    #[default]
    Auto,
    /// In any case: a server that cannot is an error.
    Snapshot,
    /// Not at all: collections are read one after the other.
    None,
}

/// Which member of a replica set is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[value(rename_all = "camelCase")]
pub enum Member {
    /// The primary.
    Primary,
    /// The primary while there is one.
    PrimaryPreferred,
    /// A secondary.
    Secondary,
    /// A secondary while there is one.
    SecondaryPreferred,
    /// Whichever answers first.
    Nearest,
}

impl From<Member> for ReadFrom {
    fn from(member: Member) -> ReadFrom {
        match member {
            Member::Primary => ReadFrom::Primary,
            Member::PrimaryPreferred => ReadFrom::PrimaryPreferred,
            Member::Secondary => ReadFrom::Secondary,
            Member::SecondaryPreferred => ReadFrom::SecondaryPreferred,
            Member::Nearest => ReadFrom::Nearest,
        }
    }
}

impl From<Place> for RunOn {
    fn from(place: Place) -> RunOn {
        match place {
            Place::Auto => RunOn::Auto,
            Place::Here => RunOn::ThisMachine,
            Place::Server => RunOn::Server,
        }
    }
}

impl From<Compression> for Compressed {
    fn from(compression: Compression) -> Compressed {
        match compression {
            Compression::None => Compressed::None,
            Compression::Gzip => Compressed::Gzip,
            Compression::Zstd => Compressed::Zstd,
        }
    }
}

impl From<Consistency> for Wanted {
    fn from(consistency: Consistency) -> Wanted {
        match consistency {
            Consistency::Auto => Wanted::Auto,
            Consistency::Snapshot => Wanted::Snapshot,
            Consistency::None => Wanted::None,
        }
    }
}
