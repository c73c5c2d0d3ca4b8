//! What travels in the Connect API, to and from the words of the house.

mod errors;
mod requests;
mod told;

pub use self::errors::{RequestError, not_stored};
pub use self::requests::{
    accept_filter, add_async, connect, device_id, known_ids, queue_size, search_time, set_slaves,
    slave_ids,
};
pub use self::told::{
    accept_filter_info, device_info, device_type, pending_info, search_info, slave_info,
    status_change,
};

/// Where a device listens unless a request says otherwise.
pub const DEVICE_PORT: u16 = 51211;
/// How many changes wait for a subscriber who asked for 0.
pub const QUEUE_SIZE_DEFAULT: usize = 16;
/// The most that wait for one subscriber, whatever he asked for: a queue is memory.
pub const QUEUE_SIZE_MAX: usize = 65_536;
