//! What a row of `message` means.

use russet_apple_format::tables::Fields;

use super::{summary, typedstream};
use crate::conversation::Message;
use crate::time;

/// The columns that are asked for.
pub(super) const COLUMNS: &[&str] = &[
    "ROWID",
    "guid",
    "text",
    "attributedBody",
    "subject",
    "handle_id",
    "other_handle",
    "service",
    "date",
    "date_read",
    "date_delivered",
    "is_from_me",
    "error",
    "item_type",
    "group_title",
    "group_action_type",
    "share_status",
    "is_audio_message",
    "associated_message_guid",
    "associated_message_type",
    "associated_message_emoji",
    "balloon_bundle_id",
    "expressive_send_style_id",
    "message_summary_info",
    "thread_originator_guid",
    "date_edited",
    "date_retracted",
];

/// What stands in a text where something was attached.
const ATTACHED: char = '\u{fffc}';

/// A row that has been read, and what of it needs the rest of the conversation to be understood.
pub(super) struct Raw<'a> {
    pub(super) message: Message<'a>,
    /// The row's number.
    pub(super) row: i64,
    pub(super) from_me: bool,
    /// The row of whoever wrote it; 0 for nobody.
    pub(super) handle: i64,
    /// The row of whoever a group event is about; 0 for nobody.
    pub(super) other: i64,
    /// The message that it reacts to, and what it says of it.
    pub(super) reaction: Option<(String, Tapback)>,
    /// The message that it answers.
    pub(super) answers: Option<String>,
    pub(super) event: Option<Event>,
}

/// A sign that is put to a message, or taken from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tapback {
    /// The sign.
    pub(super) sign: String,
    pub(super) is_removed: bool,
}

/// Something that happened to a conversation; who did it, and to whom, the conversation knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    Added,
    Removed,
    Left,
    Named(Option<String>),
    PictureChanged,
    PictureRemoved,
    LocationShared,
    LocationNoLongerShared,
    AudioKept,
    SharePlay,
    /// A kind that is not known, by its number.
    Other(i64),
}

impl Event {
    /// The event in words.
    pub(super) fn said(&self, who: &str, whom: &str) -> String {
        match self {
            Event::Added => format!("{who} added {whom} to the conversation"),
            Event::Removed => format!("{who} removed {whom} from the conversation"),
            Event::Left => format!("{who} left the conversation"),
            Event::Named(Some(name)) => format!("{who} named the conversation “{name}”"),
            Event::Named(None) => format!("{who} removed the name of the conversation"),
            Event::PictureChanged => format!("{who} changed the picture of the conversation"),
            Event::PictureRemoved => format!("{who} removed the picture of the conversation"),
            Event::LocationShared => format!("{who} shared a location"),
            Event::LocationNoLongerShared => format!("{who} stopped sharing a location"),
            Event::AudioKept => format!("{who} kept an audio message"),
            Event::SharePlay => format!("{who} began a SharePlay session"),
            Event::Other(kind) => format!("an event of a kind that is not known ({kind})"),
        }
    }
}

/// Reads a row.
pub(super) fn read<'a>(row: &Fields<'_>) -> Raw<'a> {
    let moment = |column| row.integer(column).and_then(time::apple_either);
    let summary = row.bytes("message_summary_info").map(summary::read).unwrap_or_default();
    let own = row.words("text").or_else(|| typedstream::text(row.bytes("attributedBody")?));
    let text = own.or_else(|| summary.versions.last().map(|(_, text)| text.clone())).and_then(said);
    let earlier = summary.versions.len().saturating_sub(1);
    let edited = moment("date_edited");
    let retracted = moment("date_retracted").is_some() || summary.is_retracted && text.is_none();
    let message = Message {
        id: row.text("guid").unwrap_or_default(),
        time: moment("date"),
        subject: row.words("subject"),
        earlier: summary.versions.into_iter().take(earlier).filter_map(|(time, text)| Some((time, said(text)?))).collect(),
        is_edited: (edited.is_some() || earlier > 0) && !retracted,
        is_retracted: retracted,
        service: row.words("service"),
        delivered: moment("date_delivered"),
        read: moment("date_read"),
        notes: notes(row, text.is_some()),
        text,
        ..Message::default()
    };
    Raw {
        row: row.integer("ROWID").unwrap_or_default(),
        from_me: row.flag("is_from_me"),
        handle: row.integer("handle_id").unwrap_or_default(),
        other: row.integer("other_handle").unwrap_or_default(),
        reaction: reaction(row),
        answers: row.words("thread_originator_guid"),
        event: event(row),
        message,
    }
}

/// The text without the places of attachments.
fn said(text: String) -> Option<String> {
    let text = text.replace(ATTACHED, "");
    let text = text.trim_matches(['\n', '\r', ' ']);
    (!text.is_empty()).then(|| text.to_owned())
}

fn event(row: &Fields<'_>) -> Option<Event> {
    let action = row.integer("group_action_type").unwrap_or_default();
    Some(match row.integer("item_type").unwrap_or_default() {
        0 => return None,
        1 if action == 1 => Event::Removed,
        1 => Event::Added,
        2 => Event::Named(row.words("group_title")),
        3 if action == 1 => Event::PictureChanged,
        3 if action == 2 => Event::PictureRemoved,
        3 => Event::Left,
        4 if row.flag("share_status") => Event::LocationNoLongerShared,
        4 => Event::LocationShared,
        5 => Event::AudioKept,
        6 => Event::SharePlay,
        other => Event::Other(other),
    })
}

fn reaction(row: &Fields<'_>) -> Option<(String, Tapback)> {
    /// From here on the numbers mean that a sign is taken away again.
    const REMOVED: i64 = 3000;
    let kind = row.integer("associated_message_type").filter(|kind| (2000..4000).contains(kind))?;
    // `p:0/GUID` for a part of a message, `bp:GUID` for a balloon.
    let of = row.words("associated_message_guid")?;
    let of = of.rsplit(['/', ':']).next().unwrap_or_default().to_owned();
    let sign = match kind % 1000 {
        0 => "❤️",
        1 => "👍",
        2 => "👎",
        3 => "😂",
        4 => "‼️",
        5 => "❓",
        6 => &row.words("associated_message_emoji").unwrap_or_else(|| "an emoji".into()),
        7 => "a sticker",
        _ => "a reaction",
    };
    Some((of, Tapback { sign: sign.to_owned(), is_removed: kind >= REMOVED }))
}

/// Whatever else is to be said, in a few words each.
fn notes(row: &Fields<'_>, has_text: bool) -> Vec<String> {
    const STICKER: i64 = 1000;
    let mut notes = Vec::new();
    if let Some(effect) = row.words("expressive_send_style_id") {
        notes.push(format!("sent with the effect {}", effect_name(&effect)));
    }
    if row.flag("is_audio_message") {
        notes.push("audio message".into());
    }
    if row.integer("associated_message_type") == Some(STICKER) {
        notes.push("a sticker on a message".into());
    }
    if row.flag("error") {
        notes.push("not delivered".into());
    }
    match row.words("balloon_bundle_id") {
        Some(app) if app.ends_with("URLBalloonProvider") => {}
        Some(app) if !has_text => notes.push(format!("made with {}", app.rsplit(':').next().unwrap_or_default())),
        _ => {}
    }
    notes
}

/// `com.apple.messages.effect.CKConfettiEffect` is `confetti`.
fn effect_name(id: &str) -> String {
    let last = id.rsplit('.').next().unwrap_or_default();
    last.trim_start_matches("CK").trim_end_matches("Effect").to_lowercase()
}
