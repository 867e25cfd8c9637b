//! What can go wrong with a repository, and who is at fault.

use russet_format::FormatError;
use russet_store::StoreError;
use thiserror::Error;

/// What can go wrong with a repository.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RepositoryError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no repository in this store.
    #[error("there is no repository at {place}")]
    NoRepository {
        /// Where it was looked for.
        place: String,
    },
    /// There is a repository already.
    #[error("there is a repository at {place} already")]
    Exists {
        /// Where.
        place: String,
    },
    /// A repository cannot be copied into itself.
    #[error("{place} is the same repository")]
    SameRepository {
        /// Where.
        place: String,
    },
    /// No key slot opens with this password.
    #[error("the password opens none of the {tried} key slots of {place}")]
    WrongPassword {
        /// Where.
        place: String,
        /// How many slots were tried.
        tried: usize,
    },
    /// The key file is of another repository.
    #[error("the key file belongs to another repository than the one at {place}")]
    ForeignKeyFile {
        /// Where.
        place: String,
    },
    /// No key slot opens with the key file.
    #[error("the key file opens no key slot of {place}: its key was removed, or the keys were rotated")]
    WrongKeyFile {
        /// Where.
        place: String,
    },
    /// There are no readable key slots left.
    #[error("no key slot of {place} can be read")]
    NoSlots {
        /// Where.
        place: String,
    },
    /// A stored file is damaged.
    #[error("{file} is damaged: {source}")]
    Damaged {
        /// Which file.
        file: String,
        /// What is wrong with it.
        source: FormatError,
    },
    /// A stored file does not hash to its name.
    #[error("{file} is damaged: its bytes do not hash to its name")]
    Rotten {
        /// Which file.
        file: String,
    },
    /// A chunk is in no pack of the index.
    #[error("chunk {id} is in no pack that the index names")]
    MissingChunk {
        /// Which chunk.
        id: String,
    },
    /// A tree makes no sense.
    #[error("a tree is damaged: {why}")]
    Tree {
        /// What is wrong.
        why: String,
    },
    /// Something could not be sealed or drawn.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The source of a content could not be read.
    #[error("the source could not be read: {0}")]
    Source(std::io::Error),
    /// What this computer keeps for itself could not be kept.
    #[error("{place} cannot be written: {source}")]
    State {
        /// Which file.
        place: String,
        /// Why not.
        source: std::io::Error,
    },
    /// An earlier write of the same draft failed; this one is not tried.
    #[error("an earlier write of this backup failed")]
    Broken,
    /// What pruning has to read cannot be read.
    #[error("nothing was removed, because {file} cannot be read: {why}")]
    Unreadable {
        /// Which file.
        file: String,
        /// Why not.
        why: String,
    },
    /// A pack that a snapshot needs is not there.
    #[error("{file} is missing or cut short")]
    LostPack {
        /// Which file.
        file: String,
    },
    /// What a run counted on was removed while it ran.
    #[error("what this run counted on was pruned while it ran")]
    Outrun,
    /// The last key cannot be removed.
    #[error("this is the only full key of the repository; without it nothing could be read again")]
    LastKey,
    /// No key slot has this name or label.
    #[error("no key slot is called {wanted}")]
    NoSlot {
        /// What was asked for.
        wanted: String,
    },
}

impl RepositoryError {
    /// Whether something is not where the index says: a newer index may know better, since packs are packed anew now and then.
    pub fn is_missing(&self) -> bool {
        matches!(self, RepositoryError::MissingChunk { .. } | RepositoryError::Store(StoreError::NotFound { .. }))
    }
}

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, RepositoryError>;
