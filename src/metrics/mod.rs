//! What is counted: one table of names, and the handles through which the rooms count.
//!
//! [`table`] is the source of every name, label and help text; the exporter, `docs/metrics.md` and
//! the tests of the dashboards read it. A room is handed a [`Meter`] at its start and keeps the
//! handles it makes of it: counting is then one atomic operation. What the pure machines count they
//! count in plain fields, and a [source](Meter::read_at_scrape) reads those when somebody scrapes.
//!
//! There is no global recorder: two gateways in one process count apart.

mod counted;
pub mod mailbox;
mod meter;
pub mod page;
mod process;
pub mod table;

pub use self::counted::Counted;
pub use self::meter::Meter;
