//! The configuration, and what goes before it; and the schedule, which is written out and taken back.
#![allow(clippy::unwrap_used)]

mod common;

use common::{PASSWORD, Place};

#[test]
fn a_configuration_is_written_once_found_by_every_command_and_overruled_by_environment_and_options() {
    let mut place = Place::new();
    place.set("RUSSET_REPO", "").set("RUSSET_PASSWORD", "");
    let path = place.done(&["config", "path"]).stdout.trim().to_owned();
    assert_eq!(place.json(&["config", "path"])["exists"], false);
    assert_eq!(place.json(&["config", "init"])["path"], path.as_str());
    place.run(&["config", "init"]).failed(2, &["is there already", "hint:"]);
    assert!(place.done(&["config", "show"]).stdout.contains("agent.stale_after = \"3 days\""));

    place.write("secret", PASSWORD);
    let said = format!("repo = \"../../../kept\"\npassword_file = {:?}\n", place.path("secret").display().to_string());
    std::fs::write(&path, said).unwrap();
    let files = place.some_files();
    let kept = place.json(&["backup", "--from", files.to_str().unwrap()]);
    assert_eq!(
        place.path("kept").canonicalize().unwrap(),
        std::fs::canonicalize(kept["repository"]["place"].as_str().unwrap()).unwrap()
    );
    assert_eq!(place.json(&["snapshots"])["snapshots"].as_array().unwrap().len(), 1);

    // The environment goes before the configuration, and options go before both.
    place.set("RUSSET_PASSWORD", "wrong");
    place.run(&["snapshots"]).failed(5, &["hint:"]);
    place.run(&["snapshots", "--repo", "elsewhere"]).failed(7, &["elsewhere"]);
    place.done(&["snapshots", "--password-file", "secret"]);
    let other = place.write("other.toml", "repo = \"nowhere\"\n");
    place.set("RUSSET_CONFIG", other.to_str().unwrap());
    place.run(&["snapshots"]).failed(7, &["nowhere"]);
    place.run(&["snapshots", "--config", "none.toml"]).failed(2, &["none.toml", "cannot be read", "hint:"]);
}

#[test]
fn a_mistake_in_the_configuration_is_told_with_its_line_and_stops_what_depends_on_it() {
    let mut place = Place::new();
    let path = place.write("russet.toml", "\n[agent]\nstaleafter = \"1 day\"\n");
    place.set("RUSSET_CONFIG", path.to_str().unwrap());
    for arguments in [&["snapshots"][..], &["status"], &["config", "show"]] {
        place.run(arguments).failed(2, &["russet.toml, line 3", "staleafter", "perhaps stale_after was meant"]);
    }
    place.done(&["help"]);
    place.done(&["config", "path"]);
}

#[test]
fn a_schedule_is_shown_for_every_system_and_changes_nothing() {
    let place = Place::new();
    for (system, words) in [
        ("linux", &["russet-agent.timer", "OnUnitInactiveSec=20min", " agent --once", "udev", "by the administrator"][..]),
        ("macos", &["LaunchAgents", "<string>agent</string>", "launchctl bootstrap"]),
        ("windows", &["<Task ", "PT20M", "schtasks /Create"]),
    ] {
        let shown = place.done(&["schedule", "install", "--print", "--for", system, "--every", "20"]).stdout;
        for word in words {
            assert!(shown.contains(word), "{word}: {shown}");
        }
    }
    assert!(!place.path("home/.config").exists());
    place.run(&["schedule", "install", "--for", "linux"]).failed(2, &["--print"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_schedule_is_written_told_of_and_taken_back() {
    let place = Place::new();
    let units = place.path("home/.config/systemd/user");
    // No systemd of this user answers here, so it is written, and that it is not at work is no secret.
    let installed = place.run(&["schedule", "install"]);
    installed.failed(1, &["not at work", "systemctl --user enable --now russet-agent.timer", "finds no password", "udev"]);
    let service = std::fs::read_to_string(units.join("russet-agent.service")).unwrap();
    let repo = place.path("repo").display().to_string();
    assert!(service.contains(&format!("\"--repo\" \"{repo}\" agent --once")), "{service}");
    let status = place.json(&["schedule", "status"]);
    assert_eq!((&status["installed"], &status["active"]), (&true.into(), &false.into()), "{status}");
    assert_eq!(status["files"][0]["state"], "in place", "{status}");
    assert_eq!(place.json(&["schedule", "status", "--repo", "other"])["files"][0]["state"], "differs");

    let removed = place.json(&["schedule", "uninstall"]);
    assert_eq!(removed["removed"].as_array().unwrap().len(), 3, "{removed}");
    assert_eq!(std::fs::read_dir(&units).unwrap().count(), 0);
    assert!(place.done(&["schedule", "uninstall"]).stdout.contains("nothing was installed"));
    assert_eq!(place.json(&["schedule", "status"])["installed"], false);
}
