//! A conversation as a page one reads from top to bottom; a long one as a page for each year, and one that leads to them.

use std::ops::Range;

use jiff::tz::TimeZone;

use super::{Attachment, Conversation, Media, Message};
use crate::page::{Html, Page};
use crate::{Context, Folder, Result, time};

/// More messages than this are divided by years.
const MOST_ON_ONE_PAGE: usize = 2_000;
/// A year with more than this is divided further.
const MOST_OF_ONE_YEAR: usize = 8_000;

/// One page of a conversation.
struct Part {
    label: String,
    messages: Range<usize>,
    file: String,
}

/// Writes the pages, and gives the name of the first to open.
pub(super) fn write(
    context: &Context<'_>,
    folder: &Folder<'_>,
    conversation: &Conversation<'_>,
    stem: &str,
    all: &str,
) -> Result<String> {
    let parts = parts(conversation, context.zone, stem);
    let about = about(conversation, context.zone);
    let last = conversation.span().map(|(_, last)| last);
    if let [only] = &parts[..] {
        let page = Page { title: &conversation.title, about: &about, up: Some((&["index.html"], all)) };
        let body = talk(conversation, only, &parts, context.zone);
        return folder.file(&[&only.file], &page.render(&body), last);
    }
    let first = format!("{stem}.html");
    let mut list = Html::default();
    list.markup("<ul class=\"list\">\n");
    for (at, part) in parts.iter().enumerate() {
        let title = format!("{}, {}", conversation.title, part.label);
        let page = Page { title: &title, about: &about, up: Some((&[&first], &conversation.title)) };
        let mut body = Html::default();
        let others = [at.checked_sub(1), Some(at + 1)].map(|at| at.and_then(|at| parts.get(at)));
        let mut around = Html::default();
        for (other, arrow) in others.into_iter().zip(["← ", "→ "]) {
            if let Some(other) = other {
                around.markup("<a href=\"").path(&[&other.file]).markup("\">").text(arrow).text(&other.label).markup("</a>");
            }
        }
        body.markup("<nav>").piece(&around).markup("</nav>\n").piece(&talk(conversation, part, &parts, context.zone));
        body.markup("<nav>").piece(&around).markup("</nav>\n");
        let time = conversation.messages[part.messages.clone()].iter().rev().find_map(|message| message.time);
        let file = folder.file(&[&part.file], &page.render(&body), time.or(last))?;
        list.markup("<li><a href=\"").path(&[&file]).markup("\">").text(&part.label).markup("</a> <span class=\"soft\">");
        list.number(part.messages.len() as u64).markup(" messages</span></li>\n");
    }
    list.markup("</ul>\n");
    let page = Page { title: &conversation.title, about: &about, up: Some((&["index.html"], all)) };
    folder.file(&[&first], &page.render(&list), last)
}

/// How a conversation is divided into pages.
fn parts(conversation: &Conversation<'_>, zone: &TimeZone, stem: &str) -> Vec<Part> {
    let messages = &conversation.messages;
    if messages.len() <= MOST_ON_ONE_PAGE {
        return vec![Part { label: String::new(), messages: 0..messages.len(), file: format!("{stem}.html") }];
    }
    // A message without a time stands with those before it.
    let mut year = messages.iter().find_map(|message| message.time).map(|time| time::year(time, zone));
    let mut years: Vec<(Option<i16>, Range<usize>)> = vec![(year, 0..0)];
    for (at, message) in messages.iter().enumerate() {
        let own = message.time.map(|time| time::year(time, zone)).or(year);
        if own != year {
            year = own;
            years.push((year, at..at));
        }
        years.last_mut().expect("it began with one").1.end = at + 1;
    }
    let mut parts = Vec::new();
    for (year, range) in years {
        let label = year.map_or_else(|| "without a date".to_owned(), |year| year.to_string());
        let several = range.len() > MOST_OF_ONE_YEAR;
        for (number, start) in range.clone().step_by(MOST_OF_ONE_YEAR).enumerate() {
            let label = if several { format!("{label}, part {}", number + 1) } else { label.clone() };
            let messages = start..range.end.min(start + MOST_OF_ONE_YEAR);
            parts.push(Part { file: format!("{stem} - {}.html", label.replace(',', "")), label, messages });
        }
    }
    parts
}

/// The line under the heading: who, where, from when to when.
fn about(conversation: &Conversation<'_>, zone: &TimeZone) -> String {
    let mut parts = Vec::new();
    if conversation.is_group {
        let people: Vec<&str> = conversation.people.iter().map(|person| person.shown()).collect();
        parts.push(format!("with {}", people.join(", ")));
    } else if let Some(person) = conversation.people.first()
        && person.name.is_some()
    {
        parts.push(person.address.clone());
    }
    parts.push(conversation.service.clone());
    if let Some((first, last)) = conversation.span() {
        let (first, last) = (time::date(first, zone), time::date(last, zone));
        parts.push(if first == last { first } else { format!("{first} to {last}") });
    }
    parts.retain(|part| !part.is_empty());
    parts.join(" · ")
}

fn talk(conversation: &Conversation<'_>, part: &Part, parts: &[Part], zone: &TimeZone) -> Html {
    let mut html = Html::default();
    let mut day = String::new();
    let mut before: Option<Option<usize>> = None;
    html.markup("<ol class=\"talk\">\n");
    for at in part.messages.clone() {
        let message = &conversation.messages[at];
        let own_day = message.time.map(|time| time::day(time, zone)).unwrap_or_default();
        if own_day != day {
            html.markup("<li class=\"event day\">").text(&own_day).markup("</li>\n");
            day = own_day;
            before = None;
        }
        if let Some(event) = &message.event {
            html.markup("<li class=\"event\" id=\"m").number(at as u64).markup("\"><span>").name(event);
            add_clock(&mut html, message, zone);
            html.markup("</span></li>\n");
            before = None;
            continue;
        }
        html.markup(if message.sender.is_none() { "<li class=\"mine\" id=\"m" } else { "<li id=\"m" });
        html.number(at as u64).markup("\">");
        if before != Some(message.sender) {
            html.markup("<p class=\"who\">").name(conversation.shown(message.sender)).markup("</p>");
            before = Some(message.sender);
        }
        html.markup("<div class=\"bubble\">");
        add_body(&mut html, conversation, message, parts, zone);
        html.markup("</div>");
        if !message.reactions.is_empty() {
            html.markup("<ul class=\"reactions\">");
            for reaction in &message.reactions {
                html.markup("<li>").name(&reaction.sign).markup(" ").name(conversation.shown(reaction.sender)).markup("</li>");
            }
            html.markup("</ul>");
        }
        add_foot(&mut html, conversation, message, zone);
        html.markup("</li>\n");
    }
    html.markup("</ol>\n");
    html
}

fn add_body(html: &mut Html, conversation: &Conversation<'_>, message: &Message<'_>, parts: &[Part], zone: &TimeZone) {
    if let Some((at, original)) = message.reply_to.and_then(|at| Some((at, conversation.messages.get(at)?))) {
        html.markup("<blockquote>");
        if let Some(part) = parts.iter().find(|part| part.messages.contains(&at)) {
            html.markup("<a href=\"").path(&[&part.file]).markup("#m").number(at as u64).markup("\">");
            html.name(conversation.shown(original.sender)).markup("</a>: ");
        }
        html.name(&original.gist()).markup("</blockquote>");
    }
    if let Some(subject) = &message.subject {
        html.markup("<p class=\"subject\" dir=\"auto\">").name(subject).markup("</p>");
    }
    for attachment in &message.attachments {
        add_attachment(html, attachment);
    }
    if let Some(text) = &message.text {
        html.markup("<p dir=\"auto\">").prose(text).markup("</p>");
    }
    if message.is_retracted {
        html.markup("<p class=\"gone\">This message was taken back by its sender.</p>");
    } else if message.text.is_none() && message.subject.is_none() && message.attachments.is_empty() {
        html.markup("<p class=\"gone\">There is no text in this message.</p>");
    }
    if !message.earlier.is_empty() {
        html.markup("<details><summary>What it said before</summary>");
        for (time, text) in &message.earlier {
            html.markup("<p dir=\"auto\">").name(text);
            if let Some(time) = time {
                html.markup(" <span class=\"soft\">(").text(&time::clock(*time, zone)).markup(")</span>");
            }
            html.markup("</p>");
        }
        html.markup("</details>");
    }
}

fn add_attachment(html: &mut Html, attachment: &Attachment<'_>) {
    let Some(written) = &attachment.written else {
        html.markup("<p class=\"lost\">").name(&attachment.name).markup(" is not in the backup</p>");
        return;
    };
    let path: Vec<&str> = written.iter().map(String::as_str).collect();
    let link = |html: &mut Html| {
        html.markup("<a href=\"").path(&path).markup("\">").name(&attachment.name).markup("</a>");
    };
    match attachment.media {
        Media::Image => {
            html.markup("<a href=\"").path(&path).markup("\"><img loading=\"lazy\" alt=\"").text(&attachment.name);
            html.markup("\" src=\"").path(&path).markup("\"></a>");
        }
        Media::Video => {
            html.markup("<video controls preload=\"none\" src=\"").path(&path).markup("\"></video>");
            link(html.markup("<p>"));
            html.markup("</p>");
        }
        Media::Audio => {
            html.markup("<audio controls preload=\"none\" src=\"").path(&path).markup("\"></audio>");
            link(html.markup("<p>"));
            html.markup("</p>");
        }
        Media::Other => {
            link(html.markup("<p>"));
            html.markup("</p>");
        }
    }
}

fn add_clock(html: &mut Html, message: &Message<'_>, zone: &TimeZone) {
    if let Some(time) = message.time {
        html.markup(" <time datetime=\"").text(&time::iso(time)).markup("\">").text(&time::clock(time, zone)).markup("</time>");
    }
}

/// The small line under a message: when, and what else is to be said.
fn add_foot(html: &mut Html, conversation: &Conversation<'_>, message: &Message<'_>, zone: &TimeZone) {
    html.markup("<p class=\"about\">");
    add_clock(html, message, zone);
    let mut add = |word: &str| {
        html.markup(" · ").name(word);
    };
    if let Some(service) = message.service.as_deref().filter(|service| *service != conversation.service) {
        add(service);
    }
    if message.is_edited {
        add("edited");
    }
    if message.is_deleted {
        add("recently deleted");
    }
    message.notes.iter().for_each(|note| add(note));
    if message.sender.is_none()
        && let Some(read) = message.read
    {
        add(&format!("read {}", time::clock(read, zone)));
    }
    html.markup("</p>");
}
