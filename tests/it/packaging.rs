//! What an operator installs: the manual, completions, the Debian package, on a machine that boots
//! too, the container.

mod booted;
mod completions;
mod container;
mod debian;
mod machine;
mod manual;
mod root;
