//! One end of a connection to a port of the phone.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// One end of a connection to a port of the phone.
pub trait Stream: Read + Write + Send + std::fmt::Debug + 'static {
    /// A second handle on the same connection.
    fn again(&self) -> io::Result<Box<dyn Stream>>;
    /// Ends the connection in both directions; both handles notice.
    fn hang_up(&self);
    /// How long a read may take; for ever if there is none.
    fn patience(&self, limit: Option<Duration>) -> io::Result<()>;
}

impl Stream for UnixStream {
    fn again(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(self.try_clone()?))
    }

    fn hang_up(&self) {
        // It may be down already.
        let _ = self.shutdown(Shutdown::Both);
    }

    fn patience(&self, limit: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(limit)
    }
}

impl Stream for TcpStream {
    fn again(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(self.try_clone()?))
    }

    fn hang_up(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }

    fn patience(&self, limit: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(limit)
    }
}

/// A connection to a service, with or without TLS.
pub(crate) trait Link: Read + Write + Send {}

impl<T: Read + Write + Send> Link for T {}
