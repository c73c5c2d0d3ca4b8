//! The runtime of the verbs that run a gateway.

use std::error::Error;
use std::future::Future;

/// Runs a future in an actix system over a multi-thread tokio runtime: the actors have arbiters
/// of their own, gRPC has the threads of the runtime.
///
/// # Errors
/// What the future ends with, or why there is no runtime.
pub fn run(future: impl Future<Output = Result<(), Box<dyn Error>>>) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    actix_rt::System::with_tokio_rt(move || runtime).block_on(future)
}
