//! How a command ends: its exit code, and one sentence.

use std::fmt;

use super::escape::escape;

/// The exit code of a command that did not do all it was asked. Scripts rely on the numbers: they
/// never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Failed = 1,
    Usage = 2,
    Unreachable = 3,
    NotPermitted = 4,
    NotFound = 5,
    SomeFailed = 6,
    BadInput = 7,
}

impl Exit {
    const ALL: [Self; 7] = [
        Self::Failed,
        Self::Usage,
        Self::Unreachable,
        Self::NotPermitted,
        Self::NotFound,
        Self::SomeFailed,
        Self::BadInput,
    ];

    pub const fn code(self) -> u8 {
        self as u8
    }

    const fn meaning(self) -> &'static str {
        match self {
            Self::Failed => "failed for another reason",
            Self::Usage => "the command line, the profile or an argument is wrong",
            Self::Unreachable => "the gateway cannot be reached, or is not the one that --ca knows",
            Self::NotPermitted => "the gateway does not know this client, or its role is too low",
            Self::NotFound => "there is no such device, token or identity",
            Self::SomeFailed => "some of several devices failed; a table says which",
            Self::BadInput => "a line of an input file is wrong; nothing was applied",
        }
    }
}

/// The exit codes as the help tells them.
pub fn help() -> String {
    let mut text = "Exit codes:\n  0  done\n".to_owned();
    for exit in Exit::ALL {
        text.push_str(&format!("  {}  {}\n", exit.code(), exit.meaning()));
    }
    text.trim_end().to_owned()
}

/// Why a command did not do all it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub exit: Exit,
    /// One sentence: what was wrong, and what would be right.
    pub text: String,
}

impl Failure {
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { exit, text }
    }
}

impl fmt::Display for Failure {
    /// The words may be those of the gateway, or of a device: nothing in them controls a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(&self.text))
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_that_scripts_know() {
        let codes = Exit::ALL.map(Exit::code);
        assert_eq!(codes, [1, 2, 3, 4, 5, 6, 7]);
        assert!(help().contains("\n  5  there is no such device"));
    }

    #[test]
    fn a_failure_says_nothing_to_the_terminal() {
        let failure = Failure::new(Exit::Failed, "the device says \x1b[2J");
        assert_eq!(failure.to_string(), "the device says \\u{1b}[2J");
    }
}
