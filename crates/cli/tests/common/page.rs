//! JSON.md, the page that says what `--json` prints: read, and compared with what is printed.

use std::collections::BTreeMap;

use serde_json::Value;

const PAGE: &str = include_str!("../../JSON.md");

/// The example of each section, by its heading.
pub fn sections() -> BTreeMap<&'static str, Value> {
    let mut sections = BTreeMap::new();
    for section in PAGE.split("\n## ").skip(1) {
        let heading = section.lines().next().unwrap().trim();
        let example = section.split("```json\n").nth(1).and_then(|rest| rest.split("```").next());
        let example = example.unwrap_or_else(|| panic!("section {heading} has no example"));
        let value = serde_json::from_str(example).unwrap_or_else(|error| panic!("section {heading}: {error}"));
        assert!(sections.insert(heading, value).is_none(), "section {heading} is there twice");
    }
    sections
}

/// Compares what a command line printed with the section of its command, if there is one.
#[track_caller]
pub fn check_line(arguments: &[&str], printed: &Value) {
    let words: Vec<&str> = arguments.iter().copied().take_while(|word| !word.starts_with('-')).collect();
    // The longest heading that the command line begins with.
    let sections = sections();
    let named = (1..=words.len()).rev().map(|len| words[..len].join(" ")).find(|name| sections.contains_key(name.as_str()));
    if let Some(name) = named {
        check(&name, printed);
    }
}

/// Compares what was printed with the example of a section.
#[track_caller]
pub fn check(section: &str, printed: &Value) {
    let differences = differences(&sections()[section], printed, section);
    assert!(differences.is_empty(), "JSON.md says otherwise:\n{}\n{printed:#}", differences.join("\n"));
}

/// Where what was printed has another shape than the page says.
pub fn differences(page: &Value, printed: &Value, at: &str) -> Vec<String> {
    match (page, printed) {
        // What is not known is null anywhere, and null on the page stands for anything.
        (_, Value::Null) | (Value::Null, _) => Vec::new(),
        (Value::Object(page), Value::Object(printed)) => {
            let mut found = Vec::new();
            let is_optional = |key: &str| key.ends_with('?');
            for (key, value) in printed {
                let shape = page.get(key).or_else(|| page.get(&format!("{key}?"))).or_else(|| page.get("…"));
                match shape {
                    Some(shape) => found.extend(differences(shape, value, &format!("{at}.{key}"))),
                    None => found.push(format!("{at}.{key} is printed, and not on the page")),
                }
            }
            let missing = page.keys().filter(|key| *key != "…" && !is_optional(key) && !printed.contains_key(*key));
            found.extend(missing.map(|key| format!("{at}.{key} is on the page, and not printed")));
            found
        }
        (Value::Array(page), Value::Array(printed)) => {
            let of = |value| page.first().map_or_else(Vec::new, |shape| differences(shape, value, &format!("{at}[]")));
            printed.iter().flat_map(of).collect()
        }
        (Value::Bool(_), Value::Bool(_)) | (Value::Number(_), Value::Number(_)) | (Value::String(_), Value::String(_)) => {
            Vec::new()
        }
        _ => vec![format!("{at} is of another kind: {printed}")],
    }
}
