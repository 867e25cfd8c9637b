//! The files are what their systems can read, whatever a path holds.

use std::process::Command;

use super::*;

fn plan(folder: &Path) -> Plan {
    Plan {
        program: "/opt/my programs/100% \"russet\" & <co> $HOME/russet".into(),
        options: vec!["--config".into(), "/home/anna/it's \\ here/config.toml".into()],
        minutes: 15,
        folder: folder.to_owned(),
        user: 501,
    }
}

fn text(system: System, end: &str) -> String {
    let files = plan(Path::new("/home/anna")).files(system).unwrap();
    files.into_iter().find(|file| file.path.to_string_lossy().ends_with(end)).unwrap().text
}

/// The texts of the elements of this name, after a reader of XML that knows no more than this test needs.
fn elements(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let inner = xml.split(&open).skip(1).map(|rest| rest.split(&close).next().unwrap());
    let plain = |text: &str| {
        assert!(!text.contains(['<', '>']), "{text}");
        text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
    };
    inner.map(plain).collect()
}

/// Every element is closed, in order.
#[track_caller]
fn is_well_formed(xml: &str) {
    let mut open = Vec::new();
    for tag in xml.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
        match (tag.as_bytes()[0], tag.ends_with('/')) {
            (b'?' | b'!', _) | (_, true) => {}
            (b'/', _) => assert_eq!(open.pop(), tag.strip_prefix('/'), "{xml}"),
            _ => open.push(tag.split(' ').next().unwrap()),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn a_property_list_of_launchd_says_the_command_word_for_word() {
    let plist = text(System::MacOs, ".plist");
    is_well_formed(&plist);
    let plan = plan(Path::new("/home/anna"));
    let words = elements(&plist, "string");
    let expected = [&[LABEL.to_owned(), plan.program.display().to_string()], &plan.options[..], &["agent".into()]].concat();
    assert_eq!(words[..expected.len()], expected);
    let keys = elements(&plist, "key");
    assert!(keys.contains(&"ProgramArguments".into()) && keys.contains(&"KeepAlive".into()), "{keys:?}");
}

#[test]
fn a_task_of_windows_says_the_command_and_never_runs_twice() {
    let task = text(System::Windows, ".xml");
    is_well_formed(&task);
    assert_eq!(elements(&task, "Command"), [plan(Path::new("")).program.display().to_string()]);
    assert_eq!(elements(&task, "Arguments"), ["--config \"/home/anna/it's \\ here/config.toml\" agent --once"]);
    assert_eq!(elements(&task, "MultipleInstancesPolicy"), ["IgnoreNew"]);
    assert_eq!(elements(&task, "Interval"), ["PT15M"]);
}

#[test]
fn the_task_scheduler_gets_utf_16() {
    let file = &plan(Path::new("/x")).files(System::Windows).unwrap()[0];
    let bytes = file.bytes();
    assert_eq!(bytes[..4], [0xff, 0xfe, b'<', 0]);
    let units: Vec<u16> = bytes.chunks_exact(2).skip(1).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    assert_eq!(String::from_utf16(&units).unwrap(), file.text);
}

#[test]
fn units_of_systemd_are_such_as_systemd_takes() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = plan(folder.path());
    // systemd looks whether the program is there.
    plan.program = std::env::current_exe().unwrap();
    plan.options = vec!["--config".into(), "/a b/100% \"c\" $HOME \\ d".into()];
    let files = plan.files(System::Linux).unwrap();
    let own: Vec<&UnitFile> = files.iter().filter(|file| !file.by_root).collect();
    assert_eq!(own.len(), 3);
    for file in &own {
        file.write().unwrap();
        assert_eq!(file.is_in_place(), Some(true));
    }
    let service = std::fs::read_to_string(&own[0].path).unwrap();
    assert!(service.contains(r#""--config" "/a b/100%% \"c\" $$HOME \\ d" agent --once"#), "{service}");
    let paths: Vec<&Path> = own.iter().map(|file| &*file.path).collect();
    match Command::new("systemd-analyze").arg("--user").arg("verify").args(paths).env("XDG_RUNTIME_DIR", folder.path()).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            // What is wrong with other units of this computer is not our concern.
            assert!(!said.contains(UNIT), "{said}");
        }
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound),
    }
    for file in &own {
        assert!(file.remove().unwrap() && !file.remove().unwrap());
        assert_eq!(file.is_in_place(), None);
    }
}

#[test]
fn the_rule_for_the_kernel_is_the_administrators_to_install() {
    let files = plan(Path::new("/home/anna")).files(System::Linux).unwrap();
    let rule = files.iter().find(|file| file.by_root).unwrap();
    assert!(rule.text.contains("SYSTEMD_USER_WANTS") && rule.text.contains("05ac"), "{}", rule.text);
    assert_eq!(rule.path, Path::new("/etc/udev/rules.d/99-russet.rules"));
}

#[test]
fn a_path_that_would_begin_a_line_of_its_own_is_refused() {
    let mut plan = plan(Path::new("/x"));
    plan.options.push("/a\nExecStartPost=/bin/evil".into());
    for system in [System::Linux, System::MacOs, System::Windows] {
        assert!(matches!(plan.files(system), Err(ScheduleError::Unspeakable(_))));
    }
}

#[test]
fn a_step_whose_program_is_not_there_says_so() {
    let absent = Step { words: vec!["no-such-program-of-russet".into()], may_fail: false };
    assert!(matches!(absent.run(), Ran::NotHere(why) if why.contains("no-such-program")));
}
