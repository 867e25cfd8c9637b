//! What the program says about itself: help, exit codes, and no secret in an argument.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Place, page};

/// Every command that does something, as the names of the man pages tell: those that have commands below them do not.
fn commands(place: &Place) -> Vec<Vec<String>> {
    let pages = place.json(&["manpages", "man"]);
    let names: Vec<&str> =
        pages["pages"].as_array().unwrap().iter().map(|page| page.as_str().unwrap().strip_suffix(".1").unwrap()).collect();
    let is_verb = |name: &&str| !names.iter().any(|other| other.starts_with(&format!("{name}-")));
    // `device encryption change-password` has a blank where its page has a dash.
    let words =
        |name: &str| name.replace("change-password", "change_password").split('-').skip(1).map(|w| w.replace('_', "-")).collect();
    names.iter().copied().filter(is_verb).map(words).collect()
}

#[test]
fn every_commands_help_ends_with_an_example_and_says_what_is_kept() {
    let place = Place::new();
    let commands = commands(&place);
    assert!(commands.len() >= 28, "{commands:?}");
    for command in commands {
        let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = place.done(&arguments).stdout;
        let last = help.rsplit("\n\n").next().unwrap();
        assert!(last.starts_with("Example:\n  "), "{command:?}: {last}");
        assert!(last.lines().last().unwrap().contains("russet "), "{command:?}: {last}");
        let first = help.split("\n\n").next().unwrap().to_lowercase();
        assert!(first.contains("kept") || first.contains("keep"), "{command:?}: {first}");
        assert!(!help.contains("--password "), "{command:?} takes a password as an argument");
    }
    let backup = place.done(&["backup", "--help"]).stdout;
    assert!(backup.lines().next().unwrap().contains("every run is kept as its own date"), "{backup}");
}

#[test]
fn the_overview_fits_one_screen_and_is_what_help_without_more_says() {
    let place = Place::new();
    let help = place.done(&["--help"]).stdout;
    assert!((20..=40).contains(&help.lines().count()), "{help}");
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    assert_eq!(place.done(&["help"]).stdout, help);
    assert_eq!(place.done(&["help", "backup"]).stdout, place.done(&["backup", "--help"]).stdout);
    place.run(&["help", "backups"]).failed(2, &["russet backups", "russet help"]);
}

#[test]
fn the_exit_codes_are_told_by_help_and_by_the_man_page() {
    let place = Place::new();
    let help = place.done(&["help", "exit-codes"]).stdout;
    for row in [
        "   0  done",
        "   5  the repository's password",
        "   8  damage was found",
        "  10  no such snapshot",
        "  13  the phone is locked",
        "  18  a device is stale",
        "  19  another run",
    ] {
        assert!(help.contains(row), "{row:?} is not in {help}");
    }
    place.done(&["manpages", "man"]);
    let page = std::fs::read_to_string(place.path("man/russet.1")).unwrap();
    assert!(page.contains("damage was found in the repository"), "{page}");
    let page = std::fs::read_to_string(place.path("man/russet-key-list.1")).unwrap();
    assert!(page.contains("russet\\-key\\-list"), "{page}");
}

#[test]
fn every_command_has_its_section_on_the_page_of_json() {
    let sections = page::sections();
    let missing: Vec<String> = commands(&Place::new())
        .into_iter()
        .map(|words| words.join(" "))
        .filter(|name| !sections.contains_key(name.as_str()))
        .collect();
    assert!(missing.is_empty(), "crates/cli/JSON.md has no section for {missing:?}");
}

#[test]
fn the_page_of_json_is_compared_key_by_key() {
    let check = |page: &str, printed: &str, expected: &[&str]| {
        let value = |text: &str| serde_json::from_str(text).unwrap();
        assert_eq!(page::differences(&value(page), &value(printed), "x"), expected, "{page} {printed}");
    };
    check(r#"{"a": 1, "b?": "t", "c": null}"#, r#"{"a": 2, "c": [1]}"#, &[]);
    check(r#"{"a": 1}"#, r#"{"b": 1}"#, &["x.b is printed, and not on the page", "x.a is on the page, and not printed"]);
    check(r#"{"a": [{"b": 1}]}"#, r#"{"a": [{"b": 1}, {}]}"#, &["x.a[].b is on the page, and not printed"]);
    check(r#"{"…": "text"}"#, r#"{"any": "text", "other": 1}"#, &["x.other is of another kind: 1"]);
}

#[test]
fn every_shell_gets_its_completions() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = place.done(&["completions", shell]).stdout;
        assert!(script.contains("snapshots") && script.contains("russet"), "{shell}");
    }
    let bash = place.write("russet.bash", place.done(&["completions", "bash"]).stdout);
    match std::process::Command::new("bash").arg("-n").arg(bash).output() {
        Ok(checked) => assert!(checked.status.success(), "{checked:?}"),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
    }
}

#[test]
fn a_wrong_command_line_is_told_in_the_form_that_was_asked_for() {
    let place = Place::new();
    place.run(&["backup", "--form", "x"]).failed(2, &["--form"]);
    let json = place.run(&["backup", "--form", "x", "--json"]);
    assert_eq!((json.code, json.stdout.as_str()), (2, ""));
    let error: serde_json::Value = serde_json::from_str(&json.stderr).unwrap();
    assert_eq!(error["error"]["code"], 2);
    page::check("errors", &error);
    place.run(&[]).failed(2, &["Usage"]);
    assert!(place.done(&["--version"]).stdout.starts_with("russet "));
}

#[test]
fn a_repository_that_is_not_there_is_named_before_a_password_is_wanted() {
    let mut place = Place::new();
    place.set("RUSSET_PASSWORD", "");
    for arguments in [&["snapshots"][..], &["verify"], &["verify", "--without-password"], &["key", "list"], &["ls", "latest"]] {
        place.run(arguments).failed(7, &["there is no repository at", "hint:"]);
    }
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    let program = env!("CARGO_BIN_EXE_russet");
    place.run(&["--help"]);
    let status = std::process::Command::new("sh")
        .args(["-c", "\"$0\" --help 2>err | true; cat err", program])
        .current_dir(place.path(""))
        .output()
        .unwrap();
    assert!(status.stdout.is_empty() && status.status.success(), "{status:?}");
}
