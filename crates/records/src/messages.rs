//! Messages: SMS, MMS, iMessage and RCS, out of sms.db.

mod row;
mod summary;
mod typedstream;

use std::collections::{HashMap, HashSet};

use russet_apple_format::tables::Tables;
use russet_apple_format::well_known::MESSAGES;

use crate::contacts::People;
use crate::conversation::{Attachment, Conversation, Media, Message, Person, Reaction, Writer};
use crate::{Context, Count, Error, Folder, Kind, Result};
use row::{Raw, Tapback};

/// Messages.
pub const KIND: Kind = Kind {
    name: "messages",
    about: "SMS and iMessage conversations as pages with their attachments, JSON and mailboxes",
    databases: &[MESSAGES],
    write,
};

/// Where attachments are in a backup, and what their paths begin with on a phone.
const ATTACHMENTS: &str = "MediaDomain";
const HOMES: &[&str] = &["~/", "/var/mobile/", "/private/var/mobile/"];
/// `chat.style` of a group.
const GROUP: i64 = 43;
/// What a link's preview is kept in; it is none of the owner's files.
const PREVIEW: &str = ".pluginPayloadAttachment";

fn write(context: &Context<'_>, folder: &Folder<'_>) -> Result<Vec<Count>> {
    // The address book is let go before the messages are opened.
    let people = context.people(folder);
    let Some(tables) = context.open(&MESSAGES)? else { return Ok(Vec::new()) };
    let reader = Reader::new(context, people, tables)?;
    let mut writer = Writer::new(context, folder, "Messages");
    for chat in reader.chats()? {
        writer.add(reader.conversation(&chat)?)?;
    }
    writer.add(reader.without_chat()?)?;
    writer.finish()
}

/// Reads conversations one at a time.
struct Reader<'a> {
    context: &'a Context<'a>,
    people: &'a People,
    tables: Tables,
    /// Telephone numbers and addresses, by row.
    handles: HashMap<i64, String>,
}

/// What makes up one conversation: SMS and iMessage with the same person are two rows.
#[derive(Debug, Default)]
struct Chat {
    rows: Vec<i64>,
    identifier: String,
    service: String,
    title: Option<String>,
    is_group: bool,
}

impl<'a> Reader<'a> {
    fn new(context: &'a Context<'a>, people: &'a People, tables: Tables) -> Result<Reader<'a>> {
        tables.require("message", &["guid", "date", "text", "is_from_me"])?;
        tables.require("chat", &["chat_identifier"])?;
        tables.require("chat_message_join", &["chat_id", "message_id"])?;
        tables.require("handle", &["id"])?;
        let mut handles = HashMap::new();
        tables.each("handle", &["ROWID", "id"], "", (), |row| {
            if let (Some(number), Some(id)) = (row.integer("ROWID"), row.words("id")) {
                handles.insert(number, id);
            }
            Ok::<(), Error>(())
        })?;
        Ok(Reader { context, people, tables, handles })
    }

    fn chats(&self) -> Result<Vec<Chat>> {
        let mut chats: Vec<Chat> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        let columns = ["ROWID", "guid", "style", "chat_identifier", "service_name", "display_name"];
        self.tables.each("chat", &columns, "ORDER BY ROWID", (), |row| {
            let identifier = row.words("chat_identifier").unwrap_or_default();
            let key = if identifier.is_empty() { row.text("guid").unwrap_or_default() } else { identifier.to_lowercase() };
            let place = *known.entry(key).or_insert_with(|| {
                chats.push(Chat { identifier, ..Chat::default() });
                chats.len() - 1
            });
            let chat = &mut chats[place];
            chat.rows.extend(row.integer("ROWID"));
            chat.is_group |= row.integer("style") == Some(GROUP);
            if let Some(title) = row.words("display_name") {
                chat.title = Some(title);
            }
            if let Some(service) = row.words("service_name") {
                chat.service = service;
            }
            Ok::<(), Error>(())
        })?;
        Ok(chats)
    }

    fn conversation(&self, chat: &Chat) -> Result<Conversation<'a>> {
        let mut conversation = Conversation { is_group: chat.is_group, service: chat.service.clone(), ..Conversation::default() };
        let (mut rows, mut deleted) = (HashSet::new(), HashSet::new());
        for &row in &chat.rows {
            self.tables.each("chat_handle_join", &["handle_id"], "WHERE chat_id = ?1", [row], |row| {
                self.place(&mut conversation, row.integer("handle_id").unwrap_or_default());
                Ok::<(), Error>(())
            })?;
            for (table, found) in [("chat_message_join", &mut rows), ("chat_recoverable_message_join", &mut deleted)] {
                self.tables.each(table, &["message_id"], "WHERE chat_id = ?1", [row], |row| {
                    found.extend(row.integer("message_id"));
                    Ok::<(), Error>(())
                })?;
            }
        }
        let with = (!chat.is_group && !chat.identifier.is_empty()).then(|| self.person(&mut conversation, &chat.identifier));
        conversation.title = chat.title.clone().unwrap_or_else(|| match with {
            Some(place) => conversation.people[place].shown().to_owned(),
            None => listed(&conversation.people),
        });
        let recently_deleted: HashSet<i64> = deleted.difference(&rows).copied().collect();
        let raws = self.raws(rows.iter().chain(&recently_deleted).copied())?;
        self.fill(&mut conversation, raws, with, &recently_deleted)?;
        Ok(conversation)
    }

    /// What is in no conversation, such as what is left of one that was deleted.
    fn without_chat(&self) -> Result<Conversation<'a>> {
        let mut rows = Vec::new();
        let mut rest = "WHERE ROWID NOT IN (SELECT message_id FROM chat_message_join WHERE message_id IS NOT NULL)".to_owned();
        if self.tables.has("chat_recoverable_message_join", "message_id") {
            rest += " AND ROWID NOT IN (SELECT message_id FROM chat_recoverable_message_join WHERE message_id IS NOT NULL)";
        }
        self.tables.each("message", &["ROWID"], &rest, (), |row| {
            rows.extend(row.integer("ROWID"));
            Ok::<(), Error>(())
        })?;
        let title = "Messages of no conversation".to_owned();
        let mut conversation = Conversation { title, is_group: true, ..Conversation::default() };
        let raws = self.raws(rows.into_iter())?;
        self.fill(&mut conversation, raws, None, &HashSet::new())?;
        Ok(conversation)
    }

    /// Reads rows, oldest first.
    fn raws(&self, rows: impl Iterator<Item = i64>) -> Result<Vec<Raw<'a>>> {
        let mut raws = Vec::new();
        for number in rows {
            self.tables.each("message", row::COLUMNS, "WHERE ROWID = ?1", [number], |row| {
                raws.push(row::read(row));
                Ok::<(), Error>(())
            })?;
        }
        raws.sort_by_key(|raw: &Raw<'_>| (raw.message.time, raw.row));
        Ok(raws)
    }

    /// Puts rows together: who wrote each, what came with it, what it answers, and what others made of it.
    fn fill(
        &self,
        conversation: &mut Conversation<'a>,
        raws: Vec<Raw<'a>>,
        with: Option<usize>,
        recently_deleted: &HashSet<i64>,
    ) -> Result<()> {
        let (mut places, mut answers, mut reactions) = (HashMap::new(), Vec::new(), Vec::new());
        for mut raw in raws {
            let sender = if raw.from_me { None } else { Some(self.sender(conversation, raw.handle, with)) };
            if let Some((of, tapback)) = raw.reaction.take() {
                reactions.push((of, tapback, sender, raw.message));
                continue;
            }
            raw.message.sender = sender;
            raw.message.is_deleted = recently_deleted.contains(&raw.row);
            raw.message.event = raw.event.map(|event| {
                let whom = (raw.other != 0).then(|| self.place(conversation, raw.other)).flatten();
                let whom = whom.map_or("somebody", |place| conversation.people[place].shown());
                event.said(conversation.shown(sender), whom)
            });
            raw.message.attachments = self.attachments(raw.row)?;
            let place = conversation.messages.len();
            places.insert(raw.message.id.clone(), place);
            answers.extend(raw.answers.map(|original| (place, original)));
            conversation.messages.push(raw.message);
        }
        for (place, original) in answers {
            conversation.messages[place].reply_to = places.get(&original).copied();
        }
        let mut homeless = false;
        for (of, tapback, sender, message) in reactions {
            match places.get(&of) {
                Some(&place) => react(&mut conversation.messages[place].reactions, tapback, sender),
                None if tapback.is_removed => {}
                None => {
                    let event =
                        format!("{} reacted with {} to a message that is not here", conversation.shown(sender), tapback.sign);
                    conversation.messages.push(Message { sender, event: Some(event), ..message });
                    homeless = true;
                }
            }
        }
        if homeless {
            let mut order: Vec<usize> = (0..conversation.messages.len()).collect();
            order.sort_by_key(|&place| conversation.messages[place].time);
            reorder(&mut conversation.messages, &order);
        }
        Ok(())
    }

    fn sender(&self, conversation: &mut Conversation<'a>, handle: i64, with: Option<usize>) -> usize {
        match self.place(conversation, handle).or(with) {
            Some(place) => place,
            None => conversation.place_of("", || None),
        }
    }

    /// The place of the person whose row this is.
    fn place(&self, conversation: &mut Conversation<'a>, handle: i64) -> Option<usize> {
        self.handles.get(&handle).map(|address| self.person(conversation, address))
    }

    fn person(&self, conversation: &mut Conversation<'a>, address: &str) -> usize {
        conversation.place_of(address, || self.people.name(address).map(str::to_owned))
    }

    fn attachments(&self, message: i64) -> Result<Vec<Attachment<'a>>> {
        let mut rows = Vec::new();
        self.tables.each("message_attachment_join", &["attachment_id"], "WHERE message_id = ?1", [message], |row| {
            rows.extend(row.integer("attachment_id"));
            Ok::<(), Error>(())
        })?;
        rows.sort_unstable();
        let columns = ["filename", "mime_type", "transfer_name", "total_bytes", "hide_attachment", "guid"];
        let mut attachments = Vec::new();
        for number in rows {
            self.tables.each("attachment", &columns, "WHERE ROWID = ?1", [number], |row| {
                let filename = row.words("filename").unwrap_or_default();
                if row.flag("hide_attachment") || filename.ends_with(PREVIEW) {
                    return Ok(());
                }
                let path = HOMES.iter().find_map(|home| filename.strip_prefix(home)).unwrap_or(&filename).to_owned();
                let last = path.rsplit('/').next().unwrap_or_default().to_owned();
                let name = row.words("transfer_name").unwrap_or(last);
                let mime = row.words("mime_type");
                attachments.push(Attachment {
                    media: Media::of(mime.as_deref(), &name),
                    item: self.context.file(ATTACHMENTS, &path),
                    bytes: row.integer("total_bytes").and_then(|bytes| u64::try_from(bytes).ok()),
                    // What was never loaded onto the phone has no path.
                    path: if path.is_empty() { name.clone() } else { path },
                    written: None,
                    mime,
                    name,
                });
                Ok::<(), Error>(())
            })?;
        }
        Ok(attachments)
    }
}

/// Puts a sign to a message, or takes it away. Everybody has one of Apple's signs at most.
fn react(reactions: &mut Vec<Reaction>, tapback: Tapback, sender: Option<usize>) {
    let Tapback { sign, is_removed } = tapback;
    match is_removed {
        true => reactions.retain(|reaction| reaction.sender != sender || reaction.sign != sign),
        false => {
            reactions.retain(|reaction| reaction.sender != sender);
            reactions.push(Reaction { sender, sign });
        }
    }
}

/// Puts messages into an order, and what answers what along with them.
fn reorder(messages: &mut Vec<Message<'_>>, order: &[usize]) {
    let mut now = vec![0; order.len()];
    order.iter().enumerate().for_each(|(place, &before)| now[before] = place);
    let mut old: Vec<Option<Message<'_>>> = std::mem::take(messages).into_iter().map(Some).collect();
    messages.extend(order.iter().filter_map(|&before| old[before].take()));
    for message in messages {
        message.reply_to = message.reply_to.map(|before| now[before]);
    }
}

/// Who a conversation without a title is with.
fn listed(people: &[Person]) -> String {
    const SHOWN: usize = 4;
    let names: Vec<&str> = people.iter().take(SHOWN).map(Person::shown).collect();
    match people.len().saturating_sub(SHOWN) {
        0 if names.is_empty() => "Nobody".to_owned(),
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}
