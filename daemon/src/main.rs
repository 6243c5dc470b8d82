//! `wharfinger`: one daemon for mail, files and web, and the command line that administers it.

mod cli;
mod commands;
mod config;
mod control;
mod listen;
mod modules;
mod published;
mod serve;
mod telemetry;
mod tls;
mod transfer;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};

use cli::{Cli, Command};
use config::Config;

/// Threads for disk and password work. Their work is short; more of them would only keep more memory.
const BLOCKING: usize = 24;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // First of all: with two providers in one graph rustls would not know which to take.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // Huge pages would double the daemon's memory: the allocator spreads many small pieces over each. Where the system
    // does not know them, there is nothing to turn off.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let cli = Cli::parse();
    match run(cli, arguments) {
        Ok(code) => code,
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "wharfinger: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli, arguments: Vec<String>) -> Result<ExitCode, String> {
    match &cli.command {
        Some(Command::Completions { shell }) => {
            clap_complete::generate(*shell, &mut Cli::command(), "wharfinger", &mut std::io::stdout());
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Man) => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(|error| error.to_string())?;
            commands::print(&String::from_utf8_lossy(&page));
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let config = Config::load(cli.global.config.as_deref(), cli.global.data.as_deref())?;
    // Whoever runs an import or export has the files; the store is opened by another process then.
    if !matches!(cli.command, Some(Command::Import(_) | Command::Export(_))) {
        commands::become_owner(&config.data)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING)
        .thread_keep_alive(Duration::from_secs(3))
        .build()
        .map_err(|error| format!("the runtime cannot start: {error}"))?;
    match cli.command {
        None | Some(Command::Serve) => {
            let reload = (cli.global.config, cli.global.data);
            runtime.block_on(serve::serve(config, &move || Config::load(reload.0.as_deref(), reload.1.as_deref())))?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Check) => {
            let text = runtime.block_on(commands::check(&config, cli.global.json))?;
            commands::print(&text);
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Import(from)) => runtime.block_on(transfer::import(&config, &cli.global, from)),
        Some(Command::Export(to)) => runtime.block_on(transfer::export(&config, &cli.global, to)),
        Some(Command::StoreMail { name }) => {
            runtime.block_on(transfer::serve_standard_input(&config, &name))?;
            Ok(ExitCode::SUCCESS)
        }
        Some(command) => runtime.block_on(commands::dispatch(&config, command, cli.global.json, arguments)),
    }
}
