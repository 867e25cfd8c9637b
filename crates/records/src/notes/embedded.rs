//! What stands in a note where an attachment is.

use super::table::Table;

/// What stands in a note where an attachment is. Paths lead from the note's own folder.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Embedded {
    Picture {
        path: String,
        name: String,
    },
    Sound {
        path: String,
        name: String,
    },
    Film {
        path: String,
        name: String,
    },
    File {
        path: String,
        name: String,
    },
    Link {
        url: String,
        title: String,
    },
    /// Text of another look: a hashtag, a mention, the result of a sum.
    Text(String),
    Table(Table),
    /// What is not there, in words.
    Missing(String),
}

impl Embedded {
    /// The file that it is, if it is one.
    pub(super) fn path(&self) -> Option<&str> {
        match self {
            Embedded::Picture { path, .. }
            | Embedded::Sound { path, .. }
            | Embedded::Film { path, .. }
            | Embedded::File { path, .. } => Some(path),
            _ => None,
        }
    }
}
