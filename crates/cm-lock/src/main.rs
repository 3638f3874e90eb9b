//! The `cm-lock` program; the job itself is in the library.

fn main() -> std::process::ExitCode {
    cm_core::main::<cm_lock::Tool>()
}
