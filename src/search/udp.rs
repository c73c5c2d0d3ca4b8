//! Asks the subnet, over a socket of its own: searches and gateways on one host do not meet.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::time::{sleep_until, timeout_at};

use crate::clock;
use crate::config::Search as Config;
use crate::search::answers::Answers;
use crate::search::message::{DATAGRAM_MAX, Found, Question};

/// Searches at the same time. Each is a broadcast, which every device of the subnet hears.
const AT_ONCE_MAX: usize = 16;

/// Why a search did not take place.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    #[error("{AT_ONCE_MAX} searches are in progress, which is the limit")]
    TooMany,
    #[error("no socket can be had to search from: {0}")]
    Socket(io::Error),
    #[error("the question could be sent to none of search.broadcast; {to}: {source}")]
    NotSent { to: SocketAddrV4, source: io::Error },
    #[error("search.broadcast is empty; name an address to send the question to")]
    NowhereToSend,
}

/// Searches the subnets of this host. Cheap to clone.
#[derive(Clone)]
pub struct Searcher {
    config: Arc<Config>,
    permits: Arc<Semaphore>,
}

impl Searcher {
    pub fn new(config: Config) -> Self {
        Self {
            config: Arc::new(config),
            permits: Arc::new(Semaphore::new(AT_ONCE_MAX)),
        }
    }

    /// Asks, and asks again at half time because a datagram may get lost; answers with what was
    /// found when the time is over.
    ///
    /// # Errors
    /// [`SearchError`].
    pub async fn search(&self, time: Duration) -> Result<Vec<Found>, SearchError> {
        let Ok(_permit) = self.permits.try_acquire() else {
            return Err(SearchError::TooMany);
        };
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await;
        let socket = socket.map_err(SearchError::Socket)?;
        socket.set_broadcast(true).map_err(SearchError::Socket)?;
        let question = Question {
            stream_id: rand::random(),
            nonce: rand::random(),
        };
        let begun = clock::now().instant;
        let mut answers = Answers::new(question, begun + time, self.config.answers_max);
        let datagram = question.datagram();
        self.ask(&socket, &datagram).await?;
        let again = clock::deadline(begun + time / 2);
        let asking_again = async {
            sleep_until(again).await;
            self.ask(&socket, &datagram).await
        };
        let (_, asked_again) = tokio::join!(gather(&socket, &mut answers), asking_again);
        if let Err(error) = asked_again {
            tracing::warn!(%error, "the search did not ask again");
        }
        let (found, dropped) = answers.finish();
        tracing::debug!(found = found.len(), ?dropped, "searched");
        Ok(found)
    }

    /// Sends to every address that it can.
    async fn ask(&self, socket: &UdpSocket, datagram: &[u8]) -> Result<(), SearchError> {
        let mut is_sent = false;
        let mut failed = None;
        for &to in &self.config.broadcast {
            match socket.send_to(datagram, to).await {
                Ok(_) => is_sent = true,
                Err(source) => {
                    tracing::warn!(%to, %source, "the search cannot ask there");
                    failed = Some(SearchError::NotSent { to, source });
                }
            }
        }
        match failed {
            _ if is_sent => Ok(()),
            Some(error) => Err(error),
            None => Err(SearchError::NowhereToSend),
        }
    }
}

/// Reads until the time is over.
async fn gather(socket: &UdpSocket, answers: &mut Answers) {
    let until = clock::deadline(answers.until());
    // One byte more than an answer may have, so that a longer one is seen to be longer.
    let mut buffer = [0; DATAGRAM_MAX + 1];
    while let Ok(received) = timeout_at(until, socket.recv_from(&mut buffer)).await {
        match received {
            Ok((len, _)) => answers.handle_datagram(&buffer[..len], clock::now().instant),
            // What an earlier datagram met on its way, and no fault of this socket.
            Err(error) => tracing::debug!(%error, "a datagram of the search was not delivered"),
        }
    }
}
