//! The `fastdata` command.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    fastdata::cli::main(std::env::args_os()).into()
}
