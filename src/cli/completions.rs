//! `gatehouse completions`: what a shell needs to complete the arguments.

use std::error::Error;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;

/// Prints what a shell needs to complete the arguments of gatehouse
#[derive(Debug, Args)]
#[command(
    after_help = "The Debian package installs those of bash, zsh and fish.\n\n\
        Examples:\n  \
        source <(gatehouse completions bash)\n      \
            in this bash\n  \
        gatehouse completions bash > ~/.local/share/bash-completion/completions/gatehouse\n      \
            in every bash\n  \
        gatehouse completions zsh > ~/.zfunc/_gatehouse\n      \
            in every zsh that has ~/.zfunc in its fpath\n  \
        gatehouse completions fish > ~/.config/fish/completions/gatehouse.fish\n      \
            in every fish"
)]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    /// # Errors
    /// When the standard output cannot be written.
    pub fn run(self) -> Result<(), Box<dyn Error>> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "gatehouse", &mut script);
        Ok(super::print(&String::from_utf8(script)?)?)
    }
}
