//! Writes conversations, one after the other: only the one at hand is in memory, and a line about each of the others.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Attachment, Conversation, json, mail, pages};
use crate::name::{Names, safe, safe_file};
use crate::page::{Html, Page};
use crate::{Context, Count, Folder, Result, time};

/// The folders below that of the kind.
const ATTACHMENTS: &str = "attachments";
const JSON: &str = "json";
const MAIL: &str = "mail";

/// Writes the conversations of one app.
#[derive(Debug)]
pub struct Writer<'a> {
    context: &'a Context<'a>,
    folder: &'a Folder<'a>,
    title: &'static str,
    names: Names,
    listed: Vec<Listed>,
    messages: usize,
    attachments: usize,
}

/// What the list says of a conversation.
#[derive(Debug)]
struct Listed {
    title: String,
    service: String,
    page: String,
    people: Vec<String>,
    messages: usize,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    gist: String,
    json: String,
    mail: String,
}

impl<'a> Writer<'a> {
    /// Writes into a folder; `title` is the heading of the list.
    pub fn new(context: &'a Context<'a>, folder: &'a Folder<'a>, title: &'static str) -> Writer<'a> {
        Writer { context, folder, title, names: Names::default(), listed: Vec::new(), messages: 0, attachments: 0 }
    }

    /// Writes one conversation. One without messages is passed over.
    pub fn add(&mut self, mut conversation: Conversation<'_>) -> Result<()> {
        if conversation.messages.is_empty() {
            return Ok(());
        }
        let stem = self.names.unique(&safe(&conversation.title, "conversation"));
        let number = format!("{:04}", self.listed.len() + 1);
        self.copy_attachments(&mut conversation, &number)?;
        let last = conversation.span().map(|(_, last)| last);
        let page = pages::write(self.context, self.folder, &conversation, &stem, self.title)?;
        let mail = self.folder.file(&[MAIL, &format!("{stem}.mbox")], mail::mbox(&conversation).as_bytes(), last)?;
        let json = json::conversation(&conversation);
        let json = self.folder.file(&[JSON, &format!("{stem}.json")], json.as_bytes(), last)?;
        self.messages += conversation.messages.iter().filter(|message| message.event.is_none()).count();
        self.listed.push(Listed {
            page,
            json,
            mail,
            people: conversation.people.iter().map(|person| person.shown().to_owned()).collect(),
            messages: conversation.messages.len(),
            first: conversation.span().map(|(first, _)| first),
            last,
            gist: gist(&conversation),
            title: conversation.title,
            service: conversation.service,
        });
        Ok(())
    }

    /// Writes the list, newest conversation first.
    pub fn finish(mut self) -> Result<Vec<Count>> {
        self.listed.sort_by(|a, b| b.last.cmp(&a.last).then_with(|| a.page.cmp(&b.page)));
        let newest = self.listed.first().and_then(|listed| listed.last);
        let mut body = Html::default();
        body.markup("<ul class=\"list\">\n");
        for listed in &self.listed {
            body.markup("<li><a href=\"")
                .path(&[&listed.page])
                .markup("\">")
                .name(&listed.title)
                .markup("</a> <span class=\"soft\">");
            body.text(&format!("{} · {} messages", listed.service, listed.messages));
            if let Some(last) = listed.last {
                body.markup(" · <time datetime=\"").text(&time::iso(last)).markup("\">");
                body.text(&time::date(last, self.context.zone)).markup("</time>");
            }
            body.markup("</span><p>").name(&listed.gist).markup("</p></li>\n");
        }
        body.markup("</ul>\n");
        let about = format!("{} conversations, {} messages", self.listed.len(), self.messages);
        let page = Page { title: self.title, about: &about, up: None };
        self.folder.file(&["index.html"], &page.render(&body), newest)?;
        let list: Vec<Value> = self.listed.iter().map(Listed::to_json).collect();
        let list = json!({ "conversations": list });
        self.folder.file(&["conversations.json"], format!("{list:#}\n").as_bytes(), newest)?;
        Ok(vec![
            Count::of("conversation", self.listed.len()),
            Count::of("message", self.messages),
            Count::of("attachment", self.attachments),
        ])
    }

    /// Copies what came with the messages of a conversation into a folder of its own.
    fn copy_attachments(&mut self, conversation: &mut Conversation<'_>, number: &str) -> Result<()> {
        let mut names = Names::default();
        let title = conversation.title.clone();
        for attachment in conversation.messages.iter_mut().flat_map(|message| &mut message.attachments) {
            let Attachment { name, item, path, written, media, .. } = attachment;
            let Some(item) = *item else {
                self.folder.missing(format!("{path} (in {title})"));
                continue;
            };
            let name = names.unique(&safe_file(name, media.word()));
            if let Some(name) = self.folder.copy(&[ATTACHMENTS, number, &name], item)? {
                self.attachments += 1;
                *written = Some(vec![ATTACHMENTS.to_owned(), number.to_owned(), name]);
            }
        }
        Ok(())
    }
}

impl Listed {
    fn to_json(&self) -> Value {
        json!({
            "title": self.title,
            "service": self.service,
            "people": self.people,
            "messages": self.messages,
            "first": self.first.map(time::iso),
            "last": self.last.map(time::iso),
            "page": self.page,
            "json": format!("{JSON}/{}", self.json),
            "mail": format!("{MAIL}/{}", self.mail),
        })
    }
}

/// The last thing that was said.
fn gist(conversation: &Conversation<'_>) -> String {
    let last = conversation.messages.iter().rev().find(|message| message.event.is_none());
    match last.or(conversation.messages.last()) {
        Some(message) if message.event.is_none() => format!("{}: {}", conversation.shown(message.sender), message.gist()),
        Some(message) => message.gist(),
        None => String::new(),
    }
}
