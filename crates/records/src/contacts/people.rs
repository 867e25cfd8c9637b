//! Who a telephone number or an e-mail address is.
//!
//! Numbers are written in many ways, with and without the country; what two ways have in common is how they end.

use std::collections::HashMap;

use super::Contact;

/// So many digits at the end are looked up together.
const LOOKED_UP: usize = 7;
/// So many equal digits at the end make two numbers one, whatever stands before them.
const ENOUGH: usize = 9;

/// The names of the address book, by number and address.
#[derive(Debug, Default)]
pub struct People {
    names: Vec<String>,
    /// By the last digits: all digits, and whose they are.
    numbers: HashMap<String, Vec<(String, usize)>>,
    /// By the address in small letters.
    mails: HashMap<String, usize>,
}

impl People {
    /// Those of these contacts; of two that have the same number the first counts.
    pub fn new(contacts: &[Contact]) -> People {
        let mut people = People::default();
        for contact in contacts {
            let place = people.names.len();
            people.names.push(contact.name());
            for phone in &contact.phones {
                let digits = digits(&phone.value);
                people.numbers.entry(end(&digits).to_owned()).or_default().push((digits, place));
            }
            for mail in &contact.mails {
                people.mails.entry(mail.value.trim().to_lowercase()).or_insert(place);
            }
        }
        people
    }

    /// Whose number or address it is.
    pub fn name(&self, address: &str) -> Option<&str> {
        if address.contains('@') {
            return self.mails.get(&address.trim().to_lowercase()).map(|&place| &*self.names[place]);
        }
        let wanted = digits(address);
        if wanted.is_empty() {
            return None;
        }
        let mut best: Option<(usize, usize)> = None;
        for (digits, place) in self.numbers.get(end(&wanted))? {
            let common = common_end(&wanted, digits);
            let shorter = significant(&wanted).len().min(significant(digits).len());
            let same = wanted == *digits || common >= ENOUGH || common >= LOOKED_UP && common >= shorter;
            if same && best.is_none_or(|(before, _)| before < common) {
                best = Some((common, *place));
            }
        }
        best.map(|(_, place)| &*self.names[place])
    }
}

fn digits(number: &str) -> String {
    // What follows a comma or a semicolon is dialled after the connection.
    let number = number.split([',', ';']).next().unwrap_or_default();
    number.chars().filter_map(|c| c.to_digit(10)).filter_map(|digit| char::from_digit(digit, 10)).collect()
}

fn end(digits: &str) -> &str {
    &digits[digits.len().saturating_sub(LOOKED_UP)..]
}

/// Without the zeros that stand for a way out of a town or a country.
fn significant(digits: &str) -> &str {
    digits.trim_start_matches('0')
}

fn common_end(a: &str, b: &str) -> usize {
    a.bytes().rev().zip(b.bytes().rev()).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contacts::Labelled;

    fn contact(name: &str, phone: &str, mail: &str) -> Contact {
        let labelled = |value: &str| vec![Labelled { label: None, value: value.to_owned() }];
        Contact { first: Some(name.to_owned()), phones: labelled(phone), mails: labelled(mail), ..Contact::default() }
    }

    #[test]
    fn numbers_are_one_however_they_are_written() {
        let people = People::new(&[
            contact("Ada", "0171 123-4567", "Ada@Example.org"),
            contact("Ben", "+1 (555) 010-0123", "ben@example.org"),
            contact("Cy", "555-0199", "cy@example.org"),
            contact("Bank", "72727", "bank@example.org"),
        ]);
        let check = |address: &str, expected: Option<&str>| assert_eq!(people.name(address), expected, "{address}");
        check("+491711234567", Some("Ada"));
        check("00491711234567", Some("Ada"));
        check("5550100123", Some("Ben"));
        check("+15550100123", Some("Ben"));
        check("+12025550199", Some("Cy"));
        check("72727", Some("Bank"));
        check("972727", None);
        check("+491721234567", None);
        check("ada@example.ORG", Some("Ada"));
        check("nobody@example.org", None);
        check("Apple", None);
        check("", None);
    }
}
