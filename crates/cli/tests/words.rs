//! What the program says about itself: help, exit codes, and no secret in an argument.
#![allow(clippy::unwrap_used)]

mod common;

use common::Place;

/// The verbs below a command, as its help lists them.
fn verbs(place: &Place, of: &[&str]) -> Vec<String> {
    let mut arguments = of.to_vec();
    arguments.push("--help");
    let help = place.done(&arguments).stdout;
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    list.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .filter(|verb| verb != "help")
        .collect()
}

#[test]
fn every_commands_help_ends_with_an_example_and_says_what_is_kept() {
    let place = Place::new();
    let mut commands: Vec<Vec<String>> = verbs(&place, &[]).into_iter().map(|verb| vec![verb]).collect();
    assert!(commands.len() >= 9, "{commands:?}");
    commands.extend(verbs(&place, &["key"]).into_iter().map(|verb| vec!["key".to_owned(), verb]));
    commands.extend(
        verbs(&place, &["device", "encryption"]).into_iter().map(|verb| vec!["device".into(), "encryption".into(), verb]),
    );
    assert!(commands.len() >= 21, "{commands:?}");
    for command in commands {
        let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = place.done(&arguments).stdout;
        let last = help.rsplit("\n\n").next().unwrap();
        assert!(last.starts_with("Example:\n  russet "), "{command:?}: {last}");
        let first = help.split("\n\n").next().unwrap();
        assert!(first.contains("kept") || first.contains("keep"), "{command:?}: {first}");
        assert!(!help.contains("--password "), "{command:?} takes a password as an argument");
    }
    let backup = place.done(&["backup", "--help"]).stdout;
    assert!(backup.lines().next().unwrap().contains("every run is kept as its own date"), "{backup}");
}

#[test]
fn the_help_holds_the_table_of_exit_codes() {
    let help = Place::new().done(&["--help"]).stdout;
    for row in [
        "   0  done",
        "   5  the repository's password",
        "   8  damage was found",
        "  10  no such snapshot",
        "  13  the phone is locked",
    ] {
        assert!(help.contains(row), "{row:?} is not in {help}");
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
