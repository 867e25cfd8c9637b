//! `message_summary_info`: a property list that says how a message was edited, and what of it was taken back (iOS 16).

use jiff::Timestamp;
use plist::Value;
use russet_apple_format::property_list::read_value;

use super::typedstream;
use crate::time;

/// What became of a message after it was sent.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Summary {
    /// What it said at each time, oldest first; the last is what it says now.
    pub(super) versions: Vec<(Option<Timestamp>, String)>,
    /// Whether parts of it were taken back.
    pub(super) is_retracted: bool,
}

/// Reads it. Whatever is not as expected is taken for nothing.
pub(super) fn read(bytes: &[u8]) -> Summary {
    let mut summary = Summary::default();
    let Ok(Value::Dictionary(root)) = read_value("message_summary_info", bytes) else { return summary };
    summary.is_retracted = root.get("rp").and_then(Value::as_array).is_some_and(|parts| !parts.is_empty());
    let Some(parts) = root.get("ec").and_then(Value::as_dictionary) else { return summary };
    for version in parts.values().filter_map(Value::as_array).flatten().filter_map(Value::as_dictionary) {
        let date = version.get("d");
        let date = date.and_then(|date| date.as_real().or_else(|| date.as_signed_integer().map(|whole| whole as f64)));
        if let Some(text) = version.get("t").and_then(Value::as_data).and_then(typedstream::text) {
            summary.versions.push((date.and_then(time::apple), text));
        }
    }
    summary.versions.sort_by_key(|(date, _)| *date);
    summary
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_in_order_and_hostile_lists_are_nothing() {
        let version = |date: f64, text: &str| {
            let mut version = plist::Dictionary::new();
            version.insert("d".into(), Value::Real(date));
            version.insert("t".into(), Value::Data(typedstream::archive(text)));
            Value::Dictionary(version)
        };
        let mut parts = plist::Dictionary::new();
        parts.insert("0".into(), Value::Array(vec![version(200.0, "after"), version(100.0, "before"), Value::Boolean(true)]));
        let mut root = plist::Dictionary::new();
        root.insert("ec".into(), Value::Dictionary(parts));
        let mut bytes = Vec::new();
        Value::Dictionary(root).to_writer_binary(&mut bytes).unwrap();
        let summary = read(&bytes);
        assert_eq!(summary.versions.iter().map(|(_, text)| &**text).collect::<Vec<_>>(), ["before", "after"]);
        assert!(!summary.is_retracted);
        assert_eq!(read(b"no list"), Summary::default());
    }
}
