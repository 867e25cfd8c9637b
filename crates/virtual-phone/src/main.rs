//! `virtual-iphone`: a simulated iPhone on a socket or on the kernel's virtual USB bus.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod program;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match program::run(program::Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            program::complain(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}
