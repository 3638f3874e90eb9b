//! The `cm-verify` program; the job itself is in the library.

fn main() -> std::process::ExitCode {
    cm_core::main::<cm_verify::Tool>()
}
