//! A simulated phone, and the agent that backs it up by itself: once when it is due, and never silent when that fails.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;

use std::io::BufRead;
use std::time::Duration;

use common::{PASSWORD, Place};
use russet_virtual_phone::{Config, Faults, Passcode, Phone, UsbmuxdServer};
use serde_json::Value;

/// A phone on a socket of its own, and a place in which the agent runs.
struct Desk {
    place: Place,
    phone: Phone,
    _server: UsbmuxdServer,
}

impl Desk {
    /// `settings` are added to a configuration that knows the password, and writes every event into the file `told`.
    fn new(config: Config, settings: &str) -> Desk {
        let mut place = Place::new();
        let phone = Phone::new(config).unwrap();
        let socket = place.path("usbmuxd");
        let server = UsbmuxdServer::unix(&socket, vec![phone.clone()]).unwrap();
        place.write("secret", PASSWORD);
        let told = place.path("told");
        let hook = format!(
            "'echo \"$RUSSET_EVENT of $RUSSET_DEVICE ($RUSSET_CODE): $RUSSET_MESSAGE${{RUSSET_PASSWORD:-}}\" >> {}; cat > {}.json'",
            told.display(),
            told.display()
        );
        let text = format!(
            "password_file = \"secret\"\n[hooks]\non_success = {hook}\non_failure = {hook}\non_stale = {hook}\ndesktop = false\n{settings}"
        );
        let path = place.write("config.toml", text);
        place.set("RUSSET_CONFIG", path.to_str().unwrap());
        place.set("USBMUXD_SOCKET_ADDRESS", &format!("UNIX:{}", socket.display()));
        Desk { place, phone, _server: server }
    }

    fn told(&self) -> Vec<String> {
        let told = std::fs::read_to_string(self.place.path("told")).unwrap_or_default();
        told.lines().map(str::to_owned).collect()
    }

    /// One look of the agent, and what it says.
    #[track_caller]
    fn look(&self, code: i32) -> Value {
        let ran = self.place.run(&["agent", "--once", "--json"]);
        assert_eq!(ran.code, code, "{ran:?}");
        ran.json()
    }

    #[track_caller]
    fn status(&self, code: i32) -> Value {
        let ran = self.place.run(&["status", "--json"]);
        assert_eq!(ran.code, code, "{ran:?}");
        ran.json()["devices"][0].clone()
    }
}

#[test]
fn a_known_phone_is_backed_up_when_it_is_due_and_not_again_and_status_says_so() {
    let desk = Desk::new(Config::default(), "");
    // Nobody ever wanted it to be backed up.
    let unknown = desk.look(0);
    assert_eq!(unknown["phones"][0]["outcome"], "unknown", "{unknown}");

    let first = desk.place.json(&["backup", "--no-encrypt"]);
    let status = desk.status(0);
    assert_eq!((&status["state"], &status["last_snapshot"]), (&"good".into(), &first["snapshot"]), "{status}");
    assert_eq!(desk.look(0)["phones"][0]["outcome"], "not-due");
    assert!(desk.told().is_empty(), "{:?}", desk.told());

    // Two days later, as the journal tells it.
    desk.phone.a_day_passes().unwrap();
    let soon = desk.place.write("soon.toml", format!("{}[agent]\ndue_after = \"0 seconds\"\n", config(&desk)));
    let due = desk.place.json(&["agent", "--once", "--config", soon.to_str().unwrap()]);
    assert_eq!(due["phones"][0]["outcome"], "good", "{due}");
    assert_eq!(due["upkeep"]["sound"], true, "{due}");
    assert_eq!(desk.told(), ["success of Robin’s iPhone (): Robin’s iPhone was backed up"]);
    assert_eq!(desk.look(0)["phones"][0]["outcome"], "not-due");
    assert_eq!(desk.place.json(&["snapshots"])["snapshots"].as_array().unwrap().len(), 2);
    let status = desk.status(0);
    assert_eq!((&status["last_snapshot"], &status["snapshots"]), (&due["phones"][0]["snapshot"], &2.into()), "{status}");
    assert_eq!(status["last_failure"], Value::Null, "{status}");
}

#[test]
fn a_machine_with_a_key_that_only_adds_backs_a_phone_up_by_itself_and_says_how_it_stands() {
    let mut desk = Desk::new(Config::default(), "[agent]\ndue_after = \"0 seconds\"\n");
    desk.place.done(&["backup", "--no-encrypt"]);
    desk.place.done(&["key", "add", "--write-only", "--to", "box.key"]);
    let text = config(&desk).replace("password_file = \"secret\"", "key_file = \"box.key\"");
    desk.place.write("config.toml", text);
    desk.place.set("RUSSET_PASSWORD", "");
    for day in 1..3 {
        desk.phone.a_day_passes().unwrap();
        let passed = desk.look(0);
        assert_eq!(passed["phones"][0]["outcome"], "good", "{passed}");
        assert_eq!(passed["upkeep"], Value::Null, "whoever has the password looks after the repository: {passed}");
        let status = desk.status(0);
        assert_eq!(status["last_snapshot"], passed["phones"][0]["snapshot"], "day {day}: {status}");
    }
    desk.place.set("RUSSET_PASSWORD", PASSWORD);
    assert_eq!(desk.place.json(&["verify", "--read-data"])["snapshots"], 3);
}

/// The configuration of a desk.
fn config(desk: &Desk) -> String {
    std::fs::read_to_string(desk.place.path("config.toml")).unwrap()
}

#[test]
fn a_passcode_that_nobody_enters_is_waited_for_and_told_and_a_failure_has_its_words() {
    let passcode = Passcode::CancelAfter(Duration::from_millis(100));
    let desk = Desk::new(
        Config { passcode, ..Config::default() },
        "[device.\"Robin's iPhone\"]\nbackup = true\nretry_after = \"0 seconds\"\n",
    );
    // There is no repository yet, and the agent makes none.
    desk.look(7);
    assert!(!desk.place.path("repo").exists());
    let folder = desk.place.some_files();
    desk.place.done(&["backup", "--from", folder.to_str().unwrap()]);
    let pair = desk.look(12);
    assert!(pair["phones"][0]["sentence"].as_str().unwrap().contains("not paired"), "{pair}");
    desk.place.done(&["pair"]);

    let waits = desk.look(14);
    assert_eq!(waits["phones"][0]["outcome"], "waiting", "{waits}");
    assert_eq!(desk.told().last().unwrap(), "failure of Robin’s iPhone (14): the passcode was not entered on the phone");
    let told: Value = serde_json::from_slice(&std::fs::read(desk.place.path("told.json")).unwrap()).unwrap();
    assert_eq!((&told["waiting"], &told["event"]), (&true.into(), &"failure".into()), "{told}");
    let status = desk.place.json(&["status"]);
    let phone = status["devices"].as_array().unwrap().iter().find(|device| device["name"] == "Robin’s iPhone").unwrap();
    assert_eq!((&phone["state"], &phone["failures"]), (&"waiting".into(), &3.into()), "{status}");

    desk.phone.set_passcode(Passcode::None);
    desk.phone.set_faults(Faults { fail_with: Some((106, "full".into())), ..Faults::default() });
    desk.look(15);
    let status = desk.place.done(&["status"]).stdout;
    for words in ["Robin’s iPhone: failed since", "4 times in a row: the phone has too little room", "hint: remove something"] {
        assert!(status.contains(words), "{words}: {status}");
    }
    desk.phone.set_faults(Faults::default());
    assert_eq!(desk.look(0)["phones"][0]["outcome"], "good");
    assert!(!desk.place.done(&["status"]).stdout.contains("failed since"));
}

#[test]
fn a_phone_that_is_gone_for_too_long_is_told_of_once_a_day_and_status_says_so_with_its_code() {
    let desk = Desk::new(Config::default(), "[agent]\nstale_after = \"0 seconds\"\n");
    desk.place.done(&["backup", "--no-encrypt"]);
    desk.phone.pull_cable();
    let stale = desk.look(18);
    assert_eq!((&stale["stale"][0]["name"], &stale["stale"][0]["told_now"]), (&"Robin’s iPhone".into(), &true.into()), "{stale}");
    assert_eq!(desk.look(18)["stale"][0]["told_now"], false);
    assert_eq!(desk.told().len(), 1, "{:?}", desk.told());
    assert!(desk.told()[0].starts_with("stale of Robin’s iPhone"), "{:?}", desk.told());
    assert_eq!(desk.status(18)["state"], "stale");
    assert!(desk.place.run(&["status"]).stdout.contains("Robin’s iPhone is stale"));

    // The disk is gone: what is known is told all the same.
    std::fs::rename(desk.place.path("repo"), desk.place.path("moved")).unwrap();
    assert_eq!(desk.status(7)["state"], "stale");
}

#[test]
fn two_runs_never_take_the_same_phone() {
    let desk = Desk::new(Config { passcode: Passcode::EnterAfter(Duration::from_secs(600)), ..Config::default() }, "");
    desk.place.done(&["pair"]);
    let place = &desk.place;
    std::thread::scope(|scope| {
        let first = scope.spawn(|| place.run(&["backup", "--no-encrypt"]));
        // The first waits for the passcode.
        let lock = place.path(&format!("home/.local/state/russet/running/{}.lock", desk.phone.udid()));
        while std::fs::read(&lock).unwrap_or_default().is_empty() {
            assert!(!first.is_finished(), "{:?}", first.join().unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
        place
            .run(&["backup", "--no-encrypt"])
            .failed(19, &["another run on this computer is busy with Robin’s iPhone", "russet backup", "hint:"]);
        // Nobody enters it in the end.
        desk.phone.pull_cable();
        first.join().unwrap().failed(11, &["cable"]);
    });
    assert_eq!(place.json(&["snapshots"])["snapshots"].as_array().unwrap().len(), 0);
}

#[test]
fn a_webhook_that_hangs_delays_nothing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let webhook = format!(
        "[hooks.webhook]\nurl = \"http://{}/secret-address\"\nstart = true\ntime_limit = \"1 second\"\n[agent]\ndue_after = \"0 seconds\"\n",
        listener.local_addr().unwrap()
    );
    let desk = Desk::new(Config::default(), &webhook);
    desk.place.done(&["backup", "--no-encrypt"]);
    // Nobody ever answers; the phone is backed up, and what did not get through is said without the address.
    let ran = desk.place.run(&["agent", "--once", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.json()["phones"][0]["outcome"], "good");
    assert!(ran.stderr.contains("the webhook") && !ran.stderr.contains("secret-address"), "{ran:?}");
}

#[test]
fn the_rules_of_the_configuration_let_dates_go_but_never_the_newest() {
    let desk =
        Desk::new(Config::default(), "[keep]\ndaily = 1\n[agent]\ndue_after = \"0 seconds\"\ndrill_every = \"0 seconds\"\n");
    desk.place.done(&["backup", "--no-encrypt"]);
    // Without names and rules, `forget` goes by the configuration too, and asks first.
    let plan = desk.place.json(&["forget", "--dry-run"]);
    assert_eq!((plan["goes"].as_array().unwrap().len(), plan["stays"].as_array().unwrap().len()), (0, 1), "{plan}");
    let second = desk.look(0);
    assert_eq!(second["upkeep"]["forgotten"], 1, "{second}");
    assert!(second["upkeep"]["drilled_files"].as_u64().unwrap() > 0, "{second}");
    let left = desk.place.json(&["snapshots"]);
    assert_eq!(left["snapshots"].as_array().unwrap().len(), 1, "{left}");
    assert_eq!(left["snapshots"][0]["id"], second["phones"][0]["snapshot"]);
    assert_eq!(desk.status(0)["last_drill"]["ok"], true);
}

#[test]
fn an_agent_that_goes_on_notices_a_phone_that_is_plugged_in_and_tells_what_to_do_on_it() {
    let passcode = Passcode::EnterAfter(Duration::from_millis(500));
    let desk = Desk::new(Config { passcode, ..Config::default() }, "[agent]\ndue_after = \"1 second\"\n");
    desk.place.done(&["backup", "--no-encrypt"]);
    desk.phone.pull_cable();
    let mut agent = desk.place.command(&["agent"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut said = std::io::BufReader::new(agent.stderr.take().unwrap()).lines();
    assert!(said.next().unwrap().unwrap().contains("looking for phones"));
    desk.phone.plug_cable();
    let lines: Vec<String> = said.map_while(Result::ok).take(2).collect();
    assert_eq!(lines, ["backing up Robin’s iPhone", "Enter the passcode on Robin’s iPhone now."]);
    while desk.told().is_empty() {
        assert!(agent.try_wait().unwrap().is_none(), "it goes on");
        std::thread::sleep(Duration::from_millis(50));
    }
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert!(desk.told()[0].starts_with("success of Robin’s iPhone"), "{:?}", desk.told());
}
