//! A gateway, its clients and its devices, for tests.

pub mod client;
pub mod device;
pub mod gateway;
pub mod link;
pub mod needed;
pub mod netns;
pub mod peer;
pub mod process;
pub mod scrape;
pub mod scripted;
pub mod simulate;
pub mod tls;
pub mod web;

use std::future::Future;
use std::time::Duration;

/// No wait of a test takes this long where the product works; it only keeps a broken run from
/// hanging.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test inside an actix system whose tokio runtime has threads of its own, as the binary
/// does.
pub fn run(test: impl Future<Output = ()>) {
    let system = actix_rt::System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime")
    });
    system.block_on(test);
}

/// Waits for something that must come.
pub async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, event).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}
