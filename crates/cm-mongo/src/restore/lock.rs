//! The deploy lock, as far as a restore knows it.

use cm_core::Result;
use futures_util::future::BoxFuture;

/// Somebody who holds the deploy lock of the project that a database belongs to.
pub trait Lock: Send + Sync {
    /// Whether it still holds; asked before each change.
    ///
    /// # Errors
    /// [`cm_core::Exit::LockLost`].
    fn check(&self) -> BoxFuture<'_, Result<()>>;
}
