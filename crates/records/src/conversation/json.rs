//! A conversation as JSON: one object, one message on a line.

use serde_json::{Value, json};

use super::{Attachment, Conversation, Message};
use crate::time;

pub(super) fn conversation(conversation: &Conversation<'_>) -> String {
    let people: Vec<Value> =
        conversation.people.iter().map(|person| json!({ "name": person.name, "address": person.address })).collect();
    let about = json!({
        "title": conversation.title,
        "service": conversation.service,
        "group": conversation.is_group,
        "people": people,
    });
    let about = about.to_string();
    // The messages are the last member of the object, and are never a tree in memory all at once.
    let mut text = format!("{},\n\"messages\": [\n", about.trim_end_matches('}'));
    for (at, message) in conversation.messages.iter().enumerate() {
        let end = if at + 1 == conversation.messages.len() { "\n" } else { ",\n" };
        text.push_str(&one(conversation, message).to_string());
        text.push_str(end);
    }
    text.push_str("]}\n");
    text
}

fn one(conversation: &Conversation<'_>, message: &Message<'_>) -> Value {
    let who = |sender: Option<usize>| match sender {
        None => json!("me"),
        Some(place) => json!(conversation.people.get(place).map(|person| &person.address)),
    };
    let reactions: Vec<Value> =
        message.reactions.iter().map(|reaction| json!({ "from": who(reaction.sender), "sign": reaction.sign })).collect();
    let earlier: Vec<Value> =
        message.earlier.iter().map(|(time, text)| json!({ "date": time.map(time::iso), "text": text })).collect();
    json!({
        "id": message.id,
        "date": message.time.map(time::iso),
        "from": who(message.sender),
        "name": conversation.shown(message.sender),
        "event": message.event,
        "subject": message.subject,
        "text": message.text,
        "attachments": message.attachments.iter().map(attachment).collect::<Vec<_>>(),
        "reactions": reactions,
        "reply_to": message.reply_to.and_then(|at| conversation.messages.get(at)).map(|original| &original.id),
        "earlier": earlier,
        "edited": message.is_edited,
        "retracted": message.is_retracted,
        "recently_deleted": message.is_deleted,
        "service": message.service.as_deref().unwrap_or(&conversation.service),
        "delivered": message.delivered.map(time::iso),
        "read": message.read.map(time::iso),
        "notes": message.notes,
    })
}

fn attachment(attachment: &Attachment<'_>) -> Value {
    json!({
        "name": attachment.name,
        "kind": attachment.media.word(),
        "mime": attachment.mime,
        "file": attachment.written.as_ref().map(|parts| parts.join("/")),
        "path_on_phone": attachment.path,
        "bytes": attachment.item.map(|item| item.size).or(attachment.bytes),
    })
}
