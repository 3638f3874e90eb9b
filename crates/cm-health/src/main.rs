//! The `cm-health` program; the job itself is in the library.

fn main() -> std::process::ExitCode {
    cm_core::main::<cm_health::Tool>()
}
