//! Recovery keys: what a person prints and puts away, and types in years later (FORMAT.md, chapter 4).
//!
//! New ones are 24 words of the BIP-39 English list. The 36 letters that older ones are still open the slots that were made with them.

use std::fmt;

use bip39::{Language, Mnemonic};
use zeroize::{Zeroize, Zeroizing};

use crate::Result;
use crate::key::random;

/// How many words a recovery key has.
pub const WORDS: usize = 24;
/// So many first letters tell the words of the list apart.
const TELLING: usize = 4;

/// A recovery key.
pub struct RecoveryKey(Form);

enum Form {
    /// 256 random bits and 8 check bits.
    Words(Mnemonic),
    /// 160 random bits and 20 check bits, as nine groups of four letters.
    Letters(Zeroizing<[u8; 20]>),
}

/// What is wrong with something that is nearly a recovery key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistyped {
    /// There are fewer or more than 24 words.
    Count {
        /// How many there are.
        found: usize,
    },
    /// A word is not in the list.
    Word {
        /// Which one, counted from 1.
        number: usize,
    },
    /// All words are in the list, but one is another than was printed, or two changed places.
    Check,
}

impl RecoveryKey {
    /// A new one.
    pub fn random() -> Result<RecoveryKey> {
        let bits = Zeroizing::new(random::<32>()?);
        let words = Mnemonic::from_entropy_in(Language::English, &bits[..]).expect("24 words say 32 bytes");
        Ok(RecoveryKey(Form::Words(words)))
    }

    /// What goes through the key derivation: the words in small letters with one space between them, or the letters in groups of four.
    pub fn text(&self) -> Zeroizing<String> {
        match &self.0 {
            Form::Words(mnemonic) => {
                // Room from the start, so that growing leaves no copies behind.
                let mut text = Zeroizing::new(String::with_capacity(WORDS * 9));
                for word in mnemonic.words() {
                    if !text.is_empty() {
                        text.push(' ');
                    }
                    text.push_str(word);
                }
                text
            }
            Form::Letters(bits) => letters(bits),
        }
    }

    /// Reads what a person typed. Of words, capitals, numbers and signs between them and whatever follows the fourth letter do not
    /// matter; of letters, capitals and dashes do not, nor O for 0 and I or L for 1.
    /// Gives nothing if it is not a recovery key or has a typing error.
    pub fn parse(text: &str) -> Option<RecoveryKey> {
        words(text).ok().map(Form::Words).or_else(|| parse_letters(text).map(Form::Letters)).map(RecoveryKey)
    }

    /// What is wrong with a text that was meant as a recovery key of words; nothing if it was hardly meant as one.
    pub fn mistyped(text: &str) -> Option<Mistyped> {
        let typed = typed_words(text).count();
        let known = typed_words(text).filter(|word| find(word).is_some()).count();
        // A password of several words has most of them from elsewhere.
        if typed < WORDS / 2 || known * 4 < typed * 3 {
            return None;
        }
        words(text).err()
    }
}

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryKey(..)")
    }
}

fn typed_words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty())
}

/// The word of the list that somebody meant.
fn find(typed: &str) -> Option<&'static str> {
    let list = Language::English.word_list();
    let typed = Zeroizing::new(typed.to_lowercase());
    if let Ok(at) = list.binary_search(&typed.as_str()) {
        return Some(list[at]);
    }
    let start = typed.get(..TELLING)?;
    list.iter().copied().find(|word| word.starts_with(start))
}

fn words(text: &str) -> std::result::Result<Mnemonic, Mistyped> {
    let found = typed_words(text).count();
    if found != WORDS {
        return Err(Mistyped::Count { found });
    }
    let mut usual = Zeroizing::new(String::with_capacity(WORDS * 9));
    for (number, typed) in (1..).zip(typed_words(text)) {
        usual.push_str(find(typed).ok_or(Mistyped::Word { number })?);
        usual.push(' ');
    }
    Mnemonic::parse_in_normalized(Language::English, &usual).map_err(|_| Mistyped::Check)
}

const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

fn letters(key: &[u8; 20]) -> Zeroizing<String> {
    let mut bits = Zeroizing::new([0; 23]);
    bits[..20].copy_from_slice(key);
    bits[20..].copy_from_slice(&blake3::hash(key).as_bytes()[..3]);
    let mut text = Zeroizing::new(String::with_capacity(44));
    for letter in 0..36 {
        if letter > 0 && letter % 4 == 0 {
            text.push('-');
        }
        let five = (0..5).fold(0, |acc, bit| {
            let at = letter * 5 + bit;
            acc << 1 | usize::from(bits[at / 8] >> (7 - at % 8) & 1)
        });
        text.push(char::from(LETTERS[five]));
    }
    text
}

fn parse_letters(text: &str) -> Option<Zeroizing<[u8; 20]>> {
    let mut bits = Zeroizing::new([0u8; 23]);
    let mut at = 0;
    for letter in text.chars().filter(|c| !matches!(c, '-' | ' ')) {
        let letter = match letter.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        let five = LETTERS.iter().position(|&l| char::from(l) == letter)?;
        for bit in (0..5).rev() {
            if at == 180 {
                return None;
            }
            bits[at / 8] |= (five as u8 >> bit & 1) << (7 - at % 8);
            at += 1;
        }
    }
    let mut key = Zeroizing::new([0; 20]);
    key.copy_from_slice(&bits[..20]);
    let mut check = [0; 3];
    check.copy_from_slice(&blake3::hash(&key[..]).as_bytes()[..3]);
    check[2] &= 0xf0;
    let ok = at == 180 && check == bits[20..23];
    check.zeroize();
    ok.then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words that the authors of BIP-39 give for 32 bytes of 0x7f.
    const PRINTED: &str = "legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth useful \
                           legal winner thank year wave sausage worth title";

    #[test]
    fn words_survive_a_sloppy_typist() {
        let same = |typed: &str| assert_eq!(RecoveryKey::parse(typed).expect(typed).text().as_str(), PRINTED, "{typed}");
        same(PRINTED);
        same(&PRINTED.to_uppercase());
        let short: Vec<&str> = PRINTED.split(' ').map(|word| &word[..4]).collect();
        same(&short.join("\t"));
        let numbered: Vec<String> = (1..).zip(PRINTED.split(' ')).map(|(n, word)| format!(" {n:>2}. {word}")).collect();
        same(&numbered.join("\r\n"));
        same(&PRINTED.replace("sausage", "sausagge").replace(' ', ","));
        assert_eq!(find("act"), Some("act"), "a word of three letters is not the longer one that begins with it");
        assert_eq!(find("acti"), Some("action"));
    }

    #[test]
    fn what_is_wrong_with_words_is_said() {
        let check = |typed: &str, expected| {
            assert!(RecoveryKey::parse(typed).is_none(), "{typed}");
            assert_eq!(RecoveryKey::mistyped(typed), expected, "{typed}");
        };
        check(&PRINTED.replace(" title", ""), Some(Mistyped::Count { found: 23 }));
        check(&PRINTED.replace("title", "titanic title"), Some(Mistyped::Count { found: 25 }));
        check(&PRINTED.replacen("thank", "thonk", 1), Some(Mistyped::Word { number: 3 }));
        check(&PRINTED.replacen("thank year", "year thank", 1), Some(Mistyped::Check));
        check("correct horse battery staple", None);
        check("zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich und noch weiter", None);
    }

    #[test]
    fn the_words_of_the_list_are_told_apart_by_four_letters() {
        let list = Language::English.word_list();
        for word in list {
            let start = &word[..word.len().min(TELLING)];
            assert_eq!(find(start), Some(*word));
        }
    }

    #[test]
    fn two_keys_are_never_the_same_and_never_printed_by_debug() {
        let (one, other) = (RecoveryKey::random().unwrap(), RecoveryKey::random().unwrap());
        assert_ne!(one.text(), other.text());
        assert_eq!(one.text().split(' ').count(), WORDS);
        assert_eq!(format!("{one:?}"), "RecoveryKey(..)");
    }

    #[test]
    fn the_older_letters_survive_a_sloppy_typist_and_not_a_wrong_letter() {
        let text = letters(&[0x5a; 20]);
        assert_eq!(text.len(), 36 + 8);
        let sloppy = text.to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l");
        assert_eq!(RecoveryKey::parse(&sloppy).unwrap().text(), text);
        for at in (0..text.len()).filter(|at| at % 5 != 4) {
            let mut wrong = text.as_bytes().to_vec();
            wrong[at] = if wrong[at] == b'7' { b'8' } else { b'7' };
            assert!(RecoveryKey::parse(std::str::from_utf8(&wrong).unwrap()).is_none(), "letter {at}");
        }
    }
}
