//! Conversations, of whichever app: what was said, and how it is written as pages, as mail, and as JSON.

mod json;
mod mail;
mod pages;
mod write;

pub use write::Writer;

use jiff::Timestamp;
use russet_vfs::Item;

/// Somebody who takes part, or did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Person {
    /// The name, if the address book or the app knows it.
    pub name: Option<String>,
    /// Telephone number, e-mail address, or whatever the app calls them.
    pub address: String,
}

impl Person {
    /// What one calls them.
    pub fn shown(&self) -> &str {
        self.name.as_deref().unwrap_or(if self.address.is_empty() { "unknown" } else { &self.address })
    }
}

/// A conversation.
#[derive(Debug, Default)]
pub struct Conversation<'a> {
    /// Its title: that of a group, or who it is with.
    pub title: String,
    /// Where it took place; a message says so itself if it took place elsewhere.
    pub service: String,
    /// Whether it is one of several people.
    pub is_group: bool,
    /// The other people; also those who left.
    pub people: Vec<Person>,
    /// What was said, oldest first.
    pub messages: Vec<Message<'a>>,
}

/// One message, or a line about the conversation itself.
#[derive(Debug, Default)]
pub struct Message<'a> {
    /// What its app calls it.
    pub id: String,
    /// When it was sent.
    pub time: Option<Timestamp>,
    /// Who wrote it, among the people of the conversation; none for the phone's owner.
    pub sender: Option<usize>,
    /// A line that nobody wrote, such as that somebody left. There is nothing else then.
    pub event: Option<String>,
    /// The subject, which old messages can have.
    pub subject: Option<String>,
    /// What it says.
    pub text: Option<String>,
    /// What came with it.
    pub attachments: Vec<Attachment<'a>>,
    /// What others made of it, in order.
    pub reactions: Vec<Reaction>,
    /// The message that it answers, by its place in the conversation.
    pub reply_to: Option<usize>,
    /// What it said before it was changed, oldest first.
    pub earlier: Vec<(Option<Timestamp>, String)>,
    /// Whether it was changed after it was sent.
    pub is_edited: bool,
    /// Whether its sender took it back.
    pub is_retracted: bool,
    /// Deleted on the phone, and still kept there for a while.
    pub is_deleted: bool,
    /// Where it took place.
    pub service: Option<String>,
    /// When it arrived.
    pub delivered: Option<Timestamp>,
    /// When it was read.
    pub read: Option<Timestamp>,
    /// Whatever else is to be said of it, in a few words each.
    pub notes: Vec<String>,
}

/// Something that came with a message.
#[derive(Debug, Clone)]
pub struct Attachment<'a> {
    /// What it is called.
    pub name: String,
    /// What it is.
    pub media: Media,
    /// As the app says it: `image/jpeg`.
    pub mime: Option<String>,
    /// The file; none if it is not in the backup.
    pub item: Option<&'a Item>,
    /// Where it should be, for the list of what is missing.
    pub path: String,
    /// How long it is, as the app says.
    pub bytes: Option<u64>,
    /// Where it was written below the folder, once it was.
    pub written: Option<Vec<String>>,
}

/// How something is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// A picture.
    Image,
    /// A film.
    Video,
    /// A sound.
    Audio,
    /// Anything else.
    Other,
}

impl Media {
    /// What it is, by its type or, without one, by its name.
    pub fn of(mime: Option<&str>, name: &str) -> Media {
        match mime.and_then(|mime| mime.split('/').next()) {
            Some("image") => return Media::Image,
            Some("video") => return Media::Video,
            Some("audio") => return Media::Audio,
            _ => {}
        }
        match name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).as_deref() {
            Some("jpg" | "jpeg" | "png" | "gif" | "heic" | "heif" | "webp" | "bmp" | "tif" | "tiff") => Media::Image,
            Some("mov" | "mp4" | "m4v" | "3gp" | "avi") => Media::Video,
            Some("m4a" | "mp3" | "caf" | "amr" | "aac" | "opus" | "wav" | "ogg") => Media::Audio,
            _ => Media::Other,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Media::Image => "image",
            Media::Video => "video",
            Media::Audio => "audio",
            Media::Other => "file",
        }
    }
}

/// What somebody made of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaction {
    /// Who, as [`Message::sender`].
    pub sender: Option<usize>,
    /// A sign, such as `👍`.
    pub sign: String,
}

impl Conversation<'_> {
    /// What somebody is called; the phone's owner is `Me`.
    pub fn shown(&self, sender: Option<usize>) -> &str {
        match sender {
            None => "Me",
            Some(place) => self.people.get(place).map_or("unknown", Person::shown),
        }
    }

    /// When it began and ended.
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let times = || self.messages.iter().filter_map(|message| message.time);
        Some((times().min()?, times().max()?))
    }

    /// The place of somebody among the people, who is added if need be.
    pub fn place_of(&mut self, address: &str, name: impl FnOnce() -> Option<String>) -> usize {
        match self.people.iter().position(|person| person.address == address) {
            Some(place) => place,
            None => {
                self.people.push(Person { name: name(), address: address.to_owned() });
                self.people.len() - 1
            }
        }
    }
}

impl Message<'_> {
    /// A few words of it, for a list or a quotation.
    pub fn gist(&self) -> String {
        const LONGEST: usize = 120;
        let text = self.event.as_deref().or(self.text.as_deref()).or(self.subject.as_deref());
        let text = match (text, self.attachments.first()) {
            (Some(text), _) => text.split_whitespace().collect::<Vec<_>>().join(" "),
            (None, Some(attachment)) => format!("[{}]", attachment.media.word()),
            (None, None) if self.is_retracted => "[taken back]".to_owned(),
            (None, None) => String::new(),
        };
        match text.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }
}
