//! How the scheduler is connected to: by TCP, unless whoever starts the agent has another way.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use tonic::transport::{Channel, Endpoint, Error};

type Connecting = Pin<Box<dyn Future<Output = Result<Channel, Error>> + Send>>;

/// Makes a connection to an endpoint. Address, time limits and keep-alive are the agent's, and come with the endpoint.
#[derive(Clone)]
pub struct Connector(Arc<dyn Fn(Endpoint) -> Connecting + Send + Sync>);

impl Connector {
    /// Connects by TCP.
    pub fn tcp() -> Self {
        Self::new(|endpoint| async move { endpoint.connect().await })
    }

    /// Connects as `connect` does.
    pub fn new<F>(connect: impl Fn(Endpoint) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Channel, Error>> + Send + 'static,
    {
        Self(Arc::new(move |endpoint| Box::pin(connect(endpoint))))
    }

    pub(super) fn connect(&self, endpoint: Endpoint) -> Connecting {
        (self.0)(endpoint)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}
