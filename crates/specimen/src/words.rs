//! Names and sentences, all invented. Telephone numbers are of the range kept free for films.

use crate::noise::Noise;

const FIRST: &[&str] = &[
    "Ada", "Bruno", "Chiara", "Dmitri", "Élise", "Farah", "Goran", "Hana", "Ines", "Jonas", "Keiko", "Liam", "Maren", "Nuno",
    "Olive", "Petra", "Quentin", "Rosa", "Søren", "Tove", "Ulla", "Viktor", "Wanda", "Xenia", "Yusuf", "Zoë",
];
const LAST: &[&str] = &[
    "Almeida",
    "Berg",
    "Castellan",
    "Dvořák",
    "Eriksen",
    "Fontaine",
    "Groß",
    "Hollis",
    "Ivanova",
    "Jansen",
    "Kovač",
    "Lindqvist",
    "Marlowe",
    "Nakata",
    "Okafor",
    "Pereira",
    "Quill",
    "Rossi",
    "Svensson",
    "Thorne",
];
const PLACES: &[&str] = &["the harbour", "platform 4", "the bakery", "the library", "your place", "the old mill", "the corner"];
const THINGS: &[&str] =
    &["the tickets", "an umbrella", "the spare key", "the blue folder", "some bread", "the charger", "the map", "coffee"];
const SENTENCES: &[&str] = &[
    "On my way, see you at {place}",
    "Can you bring {thing}?",
    "I left {thing} at {place} :(",
    "Running {n} minutes late",
    "ok",
    "Yes!",
    "Haha 😂",
    "Thanks, that was lovely",
    "Are you still at {place}?",
    "Call me when you have a minute",
    "{name} says hi",
    "Did {name} find {thing}?",
    "The train is {n} minutes late again",
    "Happy birthday! 🎉 Hope you have a great day",
    "Let's meet at {place} at {n} past six",
    "No problem, tomorrow works as well",
    "Sorry, I was asleep",
    "Look at this picture from {place}",
    "Dinner with {name} on Friday?",
    "Don't forget {thing}",
    "Bin gleich da, warte bitte an der Ecke",
    "À demain !",
    "We walked from {place} to {place} and back, my feet hurt",
    "{n} people came, {name} brought {thing}",
];

/// Somebody in the owner's address book.
pub(crate) struct Person {
    pub(crate) first: &'static str,
    pub(crate) last: &'static str,
    pub(crate) number: String,
    pub(crate) mail: String,
}

/// The `index`th person that the owner of a phone knows.
pub(crate) fn person(seed: u64, index: usize) -> Person {
    let mut noise = Noise::new(seed, &format!("person {index}"));
    let (first, last) = (*noise.pick(FIRST), *noise.pick(LAST));
    let plain = |name: &str| name.to_lowercase().chars().filter(char::is_ascii_alphabetic).collect::<String>();
    let mail = format!("{}.{}{index}@example.org", plain(first), plain(last));
    let number = format!("+1{}55501{:02}", noise.between(201, 990), index % 100);
    Person { first, last, number, mail }
}

/// A message as somebody types it on a phone.
pub(crate) fn sentence(noise: &mut Noise) -> String {
    let mut text = (*noise.pick(SENTENCES)).to_owned();
    while let Some(at) = text.find('{') {
        let end = at + text[at..].find('}').map_or(1, |length| length + 1);
        let word = match &text[at..end] {
            "{place}" => (*noise.pick(PLACES)).to_owned(),
            "{thing}" => (*noise.pick(THINGS)).to_owned(),
            "{name}" => (*noise.pick(FIRST)).to_owned(),
            _ => noise.between(2, 59).to_string(),
        };
        text.replace_range(at..end, &word);
    }
    text
}

/// About `length` bytes of sentences.
pub(crate) fn prose(noise: &mut Noise, length: usize) -> String {
    let mut text = String::new();
    while text.len() < length {
        text += &sentence(noise);
        text += if noise.once_in(6) { "\n\n" } else { ". " };
    }
    text
}
