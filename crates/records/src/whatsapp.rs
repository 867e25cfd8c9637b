//! WhatsApp's chats, also those of WhatsApp Business: the same conversations, out of ChatStorage.sqlite.

use std::collections::HashMap;

use russet_apple_format::tables::{Fields, Tables};
use russet_apple_format::well_known::{WHATSAPP_BUSINESS, WHATSAPP_CHATS, WHATSAPP_CONTACTS, WellKnown};

use crate::contacts::People;
use crate::conversation::{Attachment, Conversation, Media, Message, Reaction, Writer};
use crate::protobuf::{self, Damaged};
use crate::{Context, Count, Error, Folder, Kind, Result, time};

/// WhatsApp.
pub const KIND: Kind = Kind {
    name: "whatsapp",
    about: "WhatsApp chats as pages with their media, JSON and mailboxes",
    databases: &[WHATSAPP_CHATS, WHATSAPP_BUSINESS],
    write,
};

/// Where media are, beside the database.
const MEDIA: &str = "Message/";
/// How the address of a group ends, and of a person's telephone.
const GROUP: &str = "@g.us";
const TELEPHONE: &str = "@s.whatsapp.net";

fn write(context: &Context<'_>, folder: &Folder<'_>) -> Result<Vec<Count>> {
    let people = context.people(folder);
    let names = contact_names(context)?;
    let mut writer = Writer::new(context, folder, "WhatsApp");
    for (file, service) in [(WHATSAPP_CHATS, "WhatsApp"), (WHATSAPP_BUSINESS, "WhatsApp Business")] {
        if let Some(tables) = context.open(&file)? {
            let reader = Reader::new(context, people, &names, file, tables)?;
            for chat in reader.chats()? {
                writer.add(reader.conversation(&chat, service)?)?;
            }
        }
    }
    writer.finish()
}

/// What WhatsApp's own list of contacts calls whom. Without it there are the address book and what people call themselves.
fn contact_names(context: &Context<'_>) -> Result<HashMap<String, String>> {
    let mut names = HashMap::new();
    let Some(tables) = context.open(&WHATSAPP_CONTACTS).ok().flatten() else { return Ok(names) };
    tables.each("ZWAADDRESSBOOKCONTACT", &["ZFULLNAME", "ZWHATSAPPID", "ZLID"], "", (), |row| {
        for id in ["ZWHATSAPPID", "ZLID"].into_iter().filter_map(|column| row.words(column)) {
            if let Some(name) = row.words("ZFULLNAME") {
                names.insert(id, name);
            }
        }
        Ok::<(), Error>(())
    })?;
    Ok(names)
}

struct Reader<'a> {
    context: &'a Context<'a>,
    people: &'a People,
    file: WellKnown,
    tables: Tables,
    /// What is known of whom, by address.
    names: HashMap<String, String>,
    /// Members of groups, by row: their address.
    members: HashMap<i64, String>,
    /// Whether a message says which rows of other tables belong to it.
    names_rows: bool,
}

struct Chat {
    row: i64,
    address: String,
    title: Option<String>,
    is_group: bool,
}

/// A row that has been read, and what of it needs the rest of the conversation.
struct Raw<'a> {
    message: Message<'a>,
    row: i64,
    sort: f64,
    parent: Option<i64>,
    answers: Option<String>,
}

impl<'a> Reader<'a> {
    fn new(
        context: &'a Context<'a>,
        people: &'a People,
        contacts: &HashMap<String, String>,
        file: WellKnown,
        tables: Tables,
    ) -> Result<Reader<'a>> {
        tables.require("ZWACHATSESSION", &["Z_PK", "ZCONTACTJID"])?;
        tables.require("ZWAMESSAGE", &["Z_PK", "ZCHATSESSION", "ZTEXT", "ZMESSAGEDATE", "ZISFROMME"])?;
        let mut names = HashMap::new();
        // The best name comes last: what people call themselves, what the owner called them, what their contacts call them.
        tables.each("ZWAPROFILEPUSHNAME", &["ZJID", "ZPUSHNAME"], "", (), |row| {
            if let (Some(address), Some(name)) = (row.words("ZJID"), row.words("ZPUSHNAME")) {
                names.insert(address, name);
            }
            Ok::<(), Error>(())
        })?;
        let mut members = HashMap::new();
        tables.each("ZWAGROUPMEMBER", &["Z_PK", "ZMEMBERJID", "ZCONTACTNAME", "ZFIRSTNAME"], "", (), |row| {
            if let (Some(number), Some(address)) = (row.integer("Z_PK"), row.words("ZMEMBERJID")) {
                if let Some(name) = row.words("ZCONTACTNAME").or_else(|| row.words("ZFIRSTNAME")) {
                    names.insert(address.clone(), name);
                }
                members.insert(number, address);
            }
            Ok::<(), Error>(())
        })?;
        names.extend(contacts.iter().map(|(address, name)| (address.clone(), name.clone())));
        let names_rows = tables.has("ZWAMESSAGE", "ZMEDIAITEM");
        Ok(Reader { context, people, file, tables, names, members, names_rows })
    }

    fn chats(&self) -> Result<Vec<Chat>> {
        let mut chats = Vec::new();
        let columns = ["Z_PK", "ZCONTACTJID", "ZPARTNERNAME", "ZGROUPINFO"];
        self.tables.each("ZWACHATSESSION", &columns, "ORDER BY Z_PK", (), |row| {
            let address = row.words("ZCONTACTJID").unwrap_or_default();
            chats.push(Chat {
                row: row.integer("Z_PK").unwrap_or_default(),
                title: row.words("ZPARTNERNAME"),
                is_group: address.ends_with(GROUP) || row.flag("ZGROUPINFO"),
                address,
            });
            Ok::<(), Error>(())
        })?;
        Ok(chats)
    }

    fn conversation(&self, chat: &Chat, service: &str) -> Result<Conversation<'a>> {
        let mut conversation = Conversation { is_group: chat.is_group, service: service.into(), ..Conversation::default() };
        if !chat.is_group {
            self.person(&mut conversation, &chat.address, chat.title.as_deref());
        } else if self.tables.has("ZWAGROUPMEMBER", "ZCHATSESSION") {
            self.tables.each("ZWAGROUPMEMBER", &["ZMEMBERJID"], "WHERE ZCHATSESSION = ?1", [chat.row], |row| {
                if let Some(address) = row.words("ZMEMBERJID") {
                    self.person(&mut conversation, &address, None);
                }
                Ok::<(), Error>(())
            })?;
        }
        let title = chat.title.clone().or_else(|| conversation.people.first().map(|person| person.shown().to_owned()));
        conversation.title = title.unwrap_or_else(|| telephone(&chat.address));
        let mut raws = Vec::new();
        self.tables.each("ZWAMESSAGE", COLUMNS, "WHERE ZCHATSESSION = ?1", [chat.row], |row| {
            raws.push(self.message(&mut conversation, chat, row)?);
            Ok::<(), Error>(())
        })?;
        raws.sort_by(|a, b| a.message.time.cmp(&b.message.time).then(a.sort.total_cmp(&b.sort)).then(a.row.cmp(&b.row)));
        let rows: HashMap<i64, usize> = raws.iter().enumerate().map(|(place, raw)| (raw.row, place)).collect();
        let ids: HashMap<String, usize> = raws.iter().enumerate().map(|(place, raw)| (raw.message.id.clone(), place)).collect();
        for Raw { mut message, parent, answers, .. } in raws {
            let by_row = parent.and_then(|parent| rows.get(&parent));
            message.reply_to = by_row.or_else(|| ids.get(answers.as_deref()?)).copied();
            conversation.messages.push(message);
        }
        Ok(conversation)
    }

    fn message(&self, conversation: &mut Conversation<'a>, chat: &Chat, row: &Fields<'_>) -> Result<Raw<'a>> {
        let kind = row.integer("ZMESSAGETYPE").unwrap_or_default();
        let number = row.integer("Z_PK").unwrap_or_default();
        let sender = if row.flag("ZISFROMME") {
            None
        } else {
            let member = row.integer("ZGROUPMEMBER").and_then(|member| self.members.get(&member)).cloned();
            let from = member.or_else(|| row.words("ZFROMJID").filter(|from| !chat.is_group || !from.ends_with(GROUP)));
            let address = from.unwrap_or_else(|| if chat.is_group { String::new() } else { chat.address.clone() });
            Some(self.person(conversation, &address, None))
        };
        let mut message = Message {
            id: row.words("ZSTANZAID").unwrap_or_else(|| number.to_string()),
            time: row.real("ZMESSAGEDATE").and_then(time::apple),
            sender,
            text: row.words("ZTEXT"),
            ..Message::default()
        };
        if row.flag("ZSTARRED") {
            message.notes.push("starred".into());
        }
        let mut answers = None;
        self.beside("ZWAMEDIAITEM", MEDIA_COLUMNS, row.integer("ZMEDIAITEM"), number, |media| {
            self.add_media(&mut message, kind, media);
            answers = media.bytes("ZMETADATA").and_then(answered);
        })?;
        match kind {
            kind::EVENT => {
                let what = message.text.take().map(|text| format!(": {text}")).unwrap_or_default();
                message.event = Some(match sender {
                    _ if !chat.is_group => format!("WhatsApp noted something{what}"),
                    None => format!("Me: something about the group changed{what}"),
                    Some(place) => format!("{}: something about the group changed{what}", conversation.shown(Some(place))),
                });
            }
            kind::DELETED => (message.is_retracted, message.text) = (true, None),
            kind::STICKER => message.notes.push("sticker".into()),
            kind::CALL => message.event = Some("a call".into()),
            _ => {}
        }
        self.beside("ZWAMESSAGEINFO", &["ZRECEIPTINFO"], row.integer("ZMESSAGEINFO"), number, |info| {
            // What cannot be read has no reactions that could be shown.
            for (address, sign) in info.bytes("ZRECEIPTINFO").and_then(|bytes| reactions(bytes).ok()).unwrap_or_default() {
                let sender = address.map(|address| self.person(conversation, &address, None));
                message.reactions.push(Reaction { sender, sign });
            }
        })?;
        let (sort, parent) = (row.real("ZSORT").unwrap_or_default(), row.integer("ZPARENTMESSAGE"));
        Ok(Raw { message, row: number, sort, parent, answers })
    }

    /// Visits what a table has about a message: by the row that the message names or, where messages name none, by the message.
    fn beside(
        &self,
        table: &str,
        columns: &[&str],
        row: Option<i64>,
        message: i64,
        mut visit: impl FnMut(&Fields<'_>),
    ) -> Result<()> {
        let (rest, number) = match row {
            Some(row) => ("WHERE Z_PK = ?1", row),
            None if self.tables.has(table, "ZMESSAGE") && !self.names_rows => ("WHERE ZMESSAGE = ?1", message),
            None => return Ok(()),
        };
        self.tables.each(table, columns, rest, [number], |row| {
            visit(row);
            Ok(())
        })
    }

    fn add_media(&self, message: &mut Message<'a>, kind: i64, media: &Fields<'_>) {
        if message.text.is_none() && kind != kind::CONTACT {
            message.text = media.words("ZTITLE");
        }
        if kind == kind::LOCATION
            && let (Some(latitude), Some(longitude)) = (media.real("ZLATITUDE"), media.real("ZLONGITUDE"))
        {
            message.notes.push(format!("place: {latitude:.5}, {longitude:.5}"));
        }
        if kind == kind::CONTACT {
            let name = media.words("ZVCARDNAME").or_else(|| media.words("ZTITLE")).unwrap_or_else(|| "somebody".into());
            message.notes.push(format!("the card of {name}"));
        }
        let Some(local) = media.words("ZMEDIALOCALPATH") else {
            // Something came, and was never loaded or is gone.
            if kind::HAS_MEDIA.contains(&kind) {
                let media = kind_of(kind, None, "");
                let path = format!("{} {}", message.id, media_name(media));
                let name = media_name(media).to_owned();
                message.attachments.push(Attachment { name, media, mime: None, item: None, path, bytes: None, written: None });
            }
            return;
        };
        let path = format!("{MEDIA}{}", local.trim_start_matches('/'));
        let last = path.rsplit('/').next().unwrap_or_default().to_owned();
        // A document's title is the name of its file.
        let name = media.words("ZTITLE").filter(|_| kind == kind::DOCUMENT).unwrap_or(last);
        if kind == kind::DOCUMENT && message.text.as_ref() == Some(&name) {
            message.text = None;
        }
        let mime = media.words("ZVCARDSTRING").filter(|mime| mime.contains('/') && mime.len() < 100);
        message.attachments.push(Attachment {
            media: kind_of(kind, mime.as_deref(), &name),
            item: self.context.file(self.file.domain, &path),
            bytes: media.integer("ZFILESIZE").and_then(|bytes| u64::try_from(bytes).ok()),
            written: None,
            name,
            mime,
            path,
        });
    }

    /// The place of somebody, by WhatsApp's address for them.
    fn person(&self, conversation: &mut Conversation<'a>, address: &str, known_as: Option<&str>) -> usize {
        let shown = telephone(address);
        conversation.place_of(&shown, || {
            let from_book = || self.people.name(address.strip_suffix(TELEPHONE)?).map(str::to_owned);
            from_book().or_else(|| known_as.map(str::to_owned)).or_else(|| self.names.get(address).cloned())
        })
    }
}

/// What the numbers in `ZMESSAGETYPE` mean.
mod kind {
    pub(super) const IMAGE: i64 = 1;
    pub(super) const VIDEO: i64 = 2;
    pub(super) const VOICE: i64 = 3;
    pub(super) const CONTACT: i64 = 4;
    pub(super) const LOCATION: i64 = 5;
    pub(super) const EVENT: i64 = 6;
    pub(super) const DOCUMENT: i64 = 8;
    pub(super) const CALL: i64 = 59;
    pub(super) const GIF: i64 = 11;
    pub(super) const DELETED: i64 = 14;
    pub(super) const STICKER: i64 = 15;
    /// Those that something comes with.
    pub(super) const HAS_MEDIA: [i64; 6] = [IMAGE, VIDEO, VOICE, DOCUMENT, GIF, STICKER];
}

const COLUMNS: &[&str] = &[
    "Z_PK",
    "ZSTANZAID",
    "ZISFROMME",
    "ZGROUPMEMBER",
    "ZFROMJID",
    "ZMESSAGEDATE",
    "ZMESSAGETYPE",
    "ZTEXT",
    "ZSORT",
    "ZSTARRED",
    "ZPARENTMESSAGE",
    "ZMEDIAITEM",
    "ZMESSAGEINFO",
];

const MEDIA_COLUMNS: &[&str] =
    &["ZMEDIALOCALPATH", "ZTITLE", "ZVCARDSTRING", "ZVCARDNAME", "ZFILESIZE", "ZLATITUDE", "ZLONGITUDE", "ZMETADATA"];

fn kind_of(kind: i64, mime: Option<&str>, name: &str) -> Media {
    match kind {
        kind::IMAGE | kind::STICKER => Media::Image,
        kind::VIDEO | kind::GIF => Media::Video,
        kind::VOICE => Media::Audio,
        _ => Media::of(mime, name),
    }
}

fn media_name(media: Media) -> &'static str {
    match media {
        Media::Image => "a picture",
        Media::Video => "a film",
        Media::Audio => "a voice message",
        Media::Other => "a document",
    }
}

/// The number in somebody's address, as one writes it; other addresses stay as they are.
fn telephone(address: &str) -> String {
    match address.strip_suffix(TELEPHONE) {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => format!("+{digits}"),
        _ => address.to_owned(),
    }
}

/// The message that one answers, out of what WhatsApp keeps about its media.
fn answered(metadata: &[u8]) -> Option<String> {
    protobuf::Message::new(metadata).text(5).ok().flatten().map(str::to_owned)
}

/// The signs that people put to a message: whose (none for the phone's owner), and which. Of several of one person the newest counts, and an
/// empty one takes it away.
fn reactions(receipt: &[u8]) -> Result<Vec<(Option<String>, String)>, Damaged> {
    let mut latest: Vec<(Option<String>, i64, String)> = Vec::new();
    for group in protobuf::Message::new(receipt).messages(7) {
        for one in group?.messages(1) {
            let one = one?;
            let Some(sign) = one.text(3)? else { continue };
            let (who, when) = (one.text(2)?.map(str::to_owned), one.number(4)?.unwrap_or_default());
            match latest.iter_mut().find(|(known, ..)| *known == who) {
                Some(known) if known.1 > when => {}
                Some(known) => *known = (who, when, sign.to_owned()),
                None => latest.push((who, when, sign.to_owned())),
            }
        }
    }
    Ok(latest.into_iter().filter(|(_, _, sign)| !sign.is_empty()).map(|(who, _, sign)| (who, sign)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protobuf::write::{bytes, number};

    #[test]
    fn the_newest_sign_of_each_person_counts_and_an_empty_one_is_none() {
        let one = |who: Option<&str>, sign: &str, when: u64| {
            let who = who.map(|who| bytes(2, who)).unwrap_or_default();
            bytes(1, [bytes(1, "id"), who, bytes(3, sign), number(4, when)].concat())
        };
        let (ada, ben) = (Some("1@s.whatsapp.net"), Some("2@lid"));
        let all =
            [one(ada, "👍", 1), one(ada, "😂", 3), one(ada, "👎", 2), one(None, "❤️", 1), one(ben, "🙏", 1), one(ben, "", 2)];
        let receipt = [number(4, 1), bytes(7, all.concat())].concat();
        let expected = vec![(ada.map(str::to_owned), "😂".to_owned()), (None, "❤️".to_owned())];
        assert_eq!(reactions(&receipt), Ok(expected));
        assert_eq!(reactions(&receipt[..receipt.len() - 3]), Err(Damaged));
        assert_eq!(answered(&[bytes(4, "text"), bytes(5, "AAA1")].concat()).as_deref(), Some("AAA1"));
    }

    #[test]
    fn an_address_is_shown_as_a_number_where_it_is_one() {
        let check = |address: &str, expected: &str| assert_eq!(telephone(address), expected);
        check("491711234567@s.whatsapp.net", "+491711234567");
        check("123@lid", "123@lid");
        check("x@s.whatsapp.net", "x@s.whatsapp.net");
    }
}
