//! The `cm-detect` program; the job itself is in the library.

fn main() -> std::process::ExitCode {
    cm_core::main::<cm_detect::Tool>()
}
