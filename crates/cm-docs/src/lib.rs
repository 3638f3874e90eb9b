//! Writes man pages and completions from the programs' own definitions
