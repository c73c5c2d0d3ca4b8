//! What an operator installs: the manual, completions, the Debian package, the container.

mod completions;
mod container;
mod debian;
mod manual;
mod root;
