//! A conversation as a mailbox (RFC 4155, with its `From ` lines quoted), which every mail program opens and every editor shows.
//!
//! A telephone number is no mail address, so it stands before `@phone.invalid`, where nothing can ever be sent to.

use jiff::Timestamp;

use super::{Conversation, Message};
use crate::encode::base64;

const HOST: &str = "phone.invalid";
/// Bytes in one encoded word, so that with its frame it is not too long for a header.
const WORD: usize = 39;

pub(super) fn mbox(conversation: &Conversation<'_>) -> String {
    let mut text = String::new();
    for message in &conversation.messages {
        add(&mut text, conversation, message);
    }
    text
}

fn add(text: &mut String, conversation: &Conversation<'_>, message: &Message<'_>) {
    // A mailbox has no message without a time.
    let time = message.time.unwrap_or(Timestamp::UNIX_EPOCH);
    let owner = || ("Me".to_owned(), format!("me@{HOST}"));
    let of = |place: usize| (encoded(conversation.shown(Some(place))), address(&conversation.people[place].address));
    let known = message.sender.filter(|&place| place < conversation.people.len());
    let (name, from) = known.map_or_else(owner, of);
    let others = (0..conversation.people.len()).filter(|&place| known != Some(place)).map(of);
    let to: Vec<String> =
        known.map(|_| owner()).into_iter().chain(others).map(|(name, mail)| format!("{name} <{mail}>")).collect();
    let subject = message.subject.as_deref().unwrap_or(&conversation.title);
    let mut lines = vec![
        format!("From {from} {}", time.strftime("%a %b %e %H:%M:%S %Y")),
        format!("From: {name} <{from}>"),
        format!("To: {}", to.join(",\n ")),
        format!("Date: {}", time.strftime("%a, %d %b %Y %H:%M:%S +0000")),
        format!("Subject: {}", encoded(subject)),
        format!("Message-ID: <{}>", address(&message.id)),
    ];
    if let Some(original) = message.reply_to.and_then(|at| conversation.messages.get(at)) {
        lines.push(format!("In-Reply-To: <{}>", address(&original.id)));
    }
    lines.push("MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n".to_owned());
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    for line in body(conversation, message).lines() {
        // A line that begins like the next message is told from one by the sign before it.
        if line.trim_start_matches('>').starts_with("From ") {
            text.push('>');
        }
        text.push_str(line);
        text.push('\n');
    }
    text.push('\n');
}

fn body(conversation: &Conversation<'_>, message: &Message<'_>) -> String {
    let mut parts: Vec<String> = Vec::new();
    if let Some(original) = message.reply_to.and_then(|at| conversation.messages.get(at)) {
        parts.push(format!("> {}: {}", conversation.shown(original.sender), original.gist()));
    }
    parts.extend(message.event.iter().map(|event| format!("[{event}]")));
    parts.extend(message.text.iter().map(|text| visible(text)));
    for attachment in &message.attachments {
        parts.push(match &attachment.written {
            Some(path) => format!("[{}: ../{}]", attachment.media.word(), path.join("/")),
            None => format!("[{}: {}, not in the backup]", attachment.media.word(), visible(&attachment.name)),
        });
    }
    if message.is_retracted {
        parts.push("[taken back by its sender]".to_owned());
    }
    parts.extend(message.earlier.iter().map(|(_, earlier)| format!("[before it was edited: {}]", visible(earlier))));
    parts.extend(message.is_deleted.then(|| "[recently deleted]".to_owned()));
    parts.extend(message.notes.iter().map(|note| format!("[{note}]")));
    for reaction in &message.reactions {
        parts.push(format!("[{} {}]", visible(&reaction.sign), conversation.shown(reaction.sender)));
    }
    parts.join("\n")
}

/// Text in which nothing steers a terminal or hides a line's end.
fn visible(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c }).collect()
}

/// A value of a header: as it is if it is plain words, else in encoded words (RFC 2047).
fn encoded(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " +-.".contains(c);
    if text.len() <= WORD && !text.trim().is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    let mut words = Vec::new();
    let mut word = String::new();
    for c in text.chars() {
        if word.len() + c.len_utf8() > WORD {
            words.push(std::mem::take(&mut word));
        }
        word.push(c);
    }
    words.push(word);
    words.iter().map(|word| format!("=?UTF-8?B?{}?=", base64(word.as_bytes()))).collect::<Vec<_>>().join("\n ")
}

/// A mail address, or a number or name where no mail goes.
fn address(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "+-._:".contains(c);
    let plain = |text: &str| -> String { text.chars().map(|c| if is_plain(c) { c } else { '_' }).take(100).collect() };
    match text.split_once('@') {
        Some((user, host)) if !user.is_empty() && host.contains('.') => format!("{}@{}", plain(user), plain(host)),
        _ if text.is_empty() => format!("unknown@{HOST}"),
        _ => format!("{}@{HOST}", plain(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::Person;

    #[test]
    fn a_message_is_a_mail_and_its_text_cannot_be_another() {
        let mut conversation = Conversation { title: "Zoë".into(), ..Conversation::default() };
        conversation.people.push(Person { name: Some("Zoë\nBcc: x".into()), address: "+1 555\nX: y".into() });
        conversation.messages.push(Message {
            id: "A-1".into(),
            time: Some(Timestamp::from_second(1_767_949_200).unwrap()),
            sender: Some(0),
            text: Some("hello\nFrom me to you\n>From afar\u{1b}\r\nend".into()),
            ..Message::default()
        });
        let expected = "From +1_555_X:_y@phone.invalid Fri Jan  9 09:00:00 2026\n\
                        From: =?UTF-8?B?Wm/DqwpCY2M6IHg=?= <+1_555_X:_y@phone.invalid>\n\
                        To: Me <me@phone.invalid>\n\
                        Date: Fri, 09 Jan 2026 09:00:00 +0000\n\
                        Subject: =?UTF-8?B?Wm/Dqw==?=\n\
                        Message-ID: <A-1@phone.invalid>\n\
                        MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n\
                        hello\n>From me to you\n>>From afar\u{fffd}\nend\n\n";
        assert_eq!(mbox(&conversation), expected);
    }
}
