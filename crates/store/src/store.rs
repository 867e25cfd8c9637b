//! The seam between the archive and wherever its bytes lie.

use std::ops::Range;
use std::sync::Arc;

use crate::{Name, Result};

/// Keeps named files that are written whole and never changed in place.
///
/// A store knows nothing about what is in its files.
/// Every store passes [`conformance::run`](crate::conformance::run), and that suite is the definition of this trait.
///
/// One name is either a file or a folder of files. Whether `a/b` can be written while `a` is a file is left open.
pub trait Store: Send + Sync {
    /// Writes a whole file in place of what was there, if anything was.
    ///
    /// After `Ok` it is durable. After `Err` or a crash it is whole, or absent, or the old one.
    fn put(&self, name: &Name, bytes: &[u8]) -> Result<()>;

    /// Writes a whole file, unless the name is taken: then nothing changes, and the error is
    /// [`AlreadyExists`](crate::StoreError::AlreadyExists).
    ///
    /// Of many who try at once, one succeeds. After `Ok` the file is durable, and after `AlreadyExists` so is
    /// the one that was there. After any other `Err` or a crash it is whole or absent.
    fn put_new(&self, name: &Name, bytes: &[u8]) -> Result<()>;

    /// Reads part of a file. A range past the end is an error, never a short answer.
    fn get(&self, name: &Name, range: Range<u64>) -> Result<Vec<u8>>;

    /// Reads a whole file.
    fn get_all(&self, name: &Name) -> Result<Vec<u8>>;

    /// Reads a whole file in place of what a buffer holds: for whoever reads one after the other. After an error the buffer holds
    /// anything.
    fn get_all_into(&self, name: &Name, buffer: &mut Vec<u8>) -> Result<()> {
        *buffer = self.get_all(name)?;
        Ok(())
    }

    /// Says how many bytes a file has.
    fn len(&self, name: &Name) -> Result<u64>;

    /// Names every file below the folder `prefix` (`""` for all) and says how long it is, in no particular order.
    ///
    /// A folder that is not there is an empty list. Whatever else lies there, half-written files included, is left out.
    fn list(&self, prefix: &str) -> Result<Vec<(Name, u64)>>;

    /// Removes a file, durably. Removing a file that is not there is `Ok`.
    fn remove(&self, name: &Name) -> Result<()>;

    /// Says where the store is, for messages.
    fn describe(&self) -> String;
}

macro_rules! forward_to_inner {
    ($($pointer:ty),*) => {$(
        impl<S: Store + ?Sized> Store for $pointer {
            fn put(&self, name: &Name, bytes: &[u8]) -> Result<()> {
                (**self).put(name, bytes)
            }

            fn put_new(&self, name: &Name, bytes: &[u8]) -> Result<()> {
                (**self).put_new(name, bytes)
            }

            fn get(&self, name: &Name, range: Range<u64>) -> Result<Vec<u8>> {
                (**self).get(name, range)
            }

            fn get_all(&self, name: &Name) -> Result<Vec<u8>> {
                (**self).get_all(name)
            }

            fn get_all_into(&self, name: &Name, buffer: &mut Vec<u8>) -> Result<()> {
                (**self).get_all_into(name, buffer)
            }

            fn len(&self, name: &Name) -> Result<u64> {
                (**self).len(name)
            }

            fn list(&self, prefix: &str) -> Result<Vec<(Name, u64)>> {
                (**self).list(prefix)
            }

            fn remove(&self, name: &Name) -> Result<()> {
                (**self).remove(name)
            }

            fn describe(&self) -> String {
                (**self).describe()
            }
        }
    )*};
}

forward_to_inner!(&S, Arc<S>, Box<S>);
