use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use russet_apple_format::property_list::read_value;

use super::*;
use crate::FolderHost;
use crate::stream::Socket;

const UDID: &str = "00008120-000A1B2C3D4E5F60";

/// The phone's end of a conversation, played by hand.
struct ByHand(UnixStream);

impl ByHand {
    fn say(&mut self, parts: Vec<Value>) {
        let mut bytes = vec![0; 4];
        Value::Array(parts).to_writer_binary(&mut bytes).unwrap();
        let len = bytes.len() as u32 - 4;
        bytes[..4].copy_from_slice(&len.to_be_bytes());
        self.0.write_all(&bytes).unwrap();
    }

    fn hear(&mut self) -> Vec<Value> {
        let mut len = [0; 4];
        self.0.read_exact(&mut len).unwrap();
        let mut bytes = vec![0; u32::from_be_bytes(len) as usize];
        self.0.read_exact(&mut bytes).unwrap();
        read_value("what the host said", &bytes).unwrap().into_array().unwrap()
    }

    /// Says something and gives the code of the answer.
    fn ask(&mut self, parts: Vec<Value>) -> i64 {
        self.say(parts);
        signed(&self.hear()[1]).unwrap()
    }

    /// The greeting, up to the request.
    fn greet(&mut self) -> Dictionary {
        self.say(vec!["DLMessageVersionExchange".into(), 400.into(), 0.into()]);
        assert_eq!(self.hear(), ["DLMessageVersionExchange".into(), "DLVersionsOk".into(), 400.into()]);
        self.say(vec!["DLMessageDeviceReady".into()]);
        assert_eq!(self.hear()[0], "DLMessageProcessMessage".into());
        self.answer(0);
        self.hear().remove(1).into_dictionary().unwrap()
    }

    fn answer(&mut self, code: i64) {
        let answer = Dictionary::from_iter([("MessageName", Value::from("Response")), ("ErrorCode", code.into())]);
        self.say(vec!["DLMessageProcessMessage".into(), answer.into()]);
    }

    /// Sends a file in one frame, or in an endless row of them.
    fn upload(&mut self, to: &str, content: &[u8]) {
        self.say(vec!["DLMessageUploadFiles".into(), Dictionary::new().into(), 0.0.into(), 5.into()]);
        for name in ["/on/the/phone", to] {
            self.0.write_all(&(name.len() as u32).to_be_bytes()).unwrap();
            self.0.write_all(name.as_bytes()).unwrap();
        }
        self.0.write_all(&(content.len() as u32 + 1).to_be_bytes()).unwrap();
        self.0.write_all(&[0x0c]).unwrap();
        self.0.write_all(content).unwrap();
    }

    fn end_upload(&mut self) -> i64 {
        self.0.write_all(b"\0\0\0\x01\0\0\0\0\0").unwrap();
        signed(&self.hear()[1]).unwrap()
    }
}

#[derive(Default)]
struct Log {
    events: Mutex<Vec<Event>>,
    stop: AtomicBool,
    stop_at_bytes: bool,
}

impl Watch for Log {
    fn event(&self, event: Event) {
        if self.stop_at_bytes && matches!(event, Event::Receiving { bytes: 1.., .. }) {
            self.stop.store(true, Ordering::Release);
        }
        self.events.lock().unwrap().push(event);
    }

    fn stop(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// Holds a conversation with a phone that is played by `play`, into a folder.
fn play(ask: &Ask, log: &Log, play: impl FnOnce(ByHand) + Send) -> (Result<Outcome>, tempfile::TempDir) {
    let (here, there) = UnixStream::pair().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let mut host = FolderHost::new(scratch.path().join("root")).unwrap();
    let outcome = std::thread::scope(|scope| {
        scope.spawn(move || play(ByHand(there)));
        let mut socket = Socket::new(Box::new(here));
        hold(&mut socket, UDID, ask, &mut host, log, &mut || None)
    });
    (outcome, scratch)
}

fn backup() -> Ask {
    Ask::Backup { full: true }
}

#[test]
fn one_endless_file_can_be_stopped_and_is_seen_to_grow() {
    let log = Log { stop_at_bytes: true, ..Log::default() };
    let (outcome, _) = play(&backup(), &log, |mut phone| {
        phone.greet();
        phone.upload(&format!("{UDID}/endless"), b"");
        let frame = [&(1_u32 + (64 << 10)).to_be_bytes()[..], &[0x0c], &vec![7; 64 << 10]].concat();
        while phone.0.write_all(&frame).is_ok() {}
    });
    assert!(matches!(outcome, Err(DeviceError::Stopped)), "{outcome:?}");
}

#[test]
fn a_silent_phone_prepares_and_can_be_stopped() {
    struct StopsAtPreparing(Log);
    impl Watch for StopsAtPreparing {
        fn event(&self, event: Event) {
            if matches!(event, Event::Preparing(_)) {
                self.0.stop.store(true, Ordering::Release);
            }
        }
        fn stop(&self) -> bool {
            self.0.stop()
        }
    }
    let (here, there) = UnixStream::pair().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let mut host = FolderHost::new(scratch.path().into()).unwrap();
    let watch = StopsAtPreparing(Log::default());
    let outcome = std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut phone = ByHand(there);
            phone.greet();
            // Until the host hangs up.
            let _ = phone.0.read_to_end(&mut Vec::new());
        });
        let mut socket = Socket::new(Box::new(here));
        hold(&mut socket, UDID, &backup(), &mut host, &watch, &mut || None)
    });
    assert!(matches!(outcome, Err(DeviceError::Stopped)), "{outcome:?}");
}

#[test]
fn what_leads_out_of_the_phones_folders_is_refused_named_and_done_nowhere() {
    let hostile = ["../x", "/etc/x", "other-phone/x", "a\0b", "..", "", "C:/x", "00008120-000A1B2C3D4E5F6/x"];
    for path in hostile {
        let (outcome, scratch) = play(&backup(), &Log::default(), |mut phone| {
            phone.greet();
            // A name of no length would end the batch.
            if !path.is_empty() {
                phone.upload(path, b"12345");
                assert_eq!(phone.end_upload(), -1, "{path:?}");
            }
            assert_eq!(phone.ask(vec!["DLMessageCreateDirectory".into(), path.into()]), -1);
            assert_eq!(phone.ask(vec!["DLContentsOfDirectory".into(), path.into()]), -1);
            assert_eq!(phone.ask(vec!["DLMessageRemoveItems".into(), Value::Array(vec![path.into()])]), -1);
            let moved = Dictionary::from_iter([(format!("{UDID}/a"), Value::from(path))]);
            assert_eq!(phone.ask(vec!["DLMessageMoveItems".into(), moved.into()]), -1);
            assert_eq!(phone.ask(vec!["DLMessageCopyItem".into(), UDID.into(), path.into()]), -1);
            // An honest file after it still finds its place.
            phone.upload(&format!("{UDID}/honest"), b"12345");
            assert_eq!(phone.end_upload(), 0);
            phone.answer(0);
        });
        assert!(matches!(&outcome, Err(DeviceError::Lied { .. })), "{path:?} {outcome:?}");
        let places: Vec<_> = std::fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(places, ["root"]);
        let root: Vec<_> =
            std::fs::read_dir(scratch.path().join("root")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(root, [UDID], "{path:?}");
        assert_eq!(std::fs::read(scratch.path().join("root").join(UDID).join("honest")).unwrap(), b"12345");
    }
}

#[test]
fn a_copy_that_is_named_after_the_phone_is_its_own() {
    let (outcome, scratch) = play(&backup(), &Log::default(), |mut phone| {
        phone.greet();
        phone.upload(&format!("{UDID}/a"), b"12345");
        assert_eq!(phone.end_upload(), 0);
        assert_eq!(phone.ask(vec!["DLMessageCopyItem".into(), UDID.into(), format!("{UDID}-20240101-000000").into()]), 0);
        phone.answer(0);
    });
    outcome.unwrap();
    assert!(scratch.path().join(format!("root/{UDID}-20240101-000000/a")).exists());
}

#[test]
fn every_message_is_answered_whatever_it_lacks() {
    let messages = [
        "DLMessageUnheardOf",
        "DLMessageCreateDirectory",
        "DLContentsOfDirectory",
        "DLMessageCopyItem",
        "DLMessagePurgeDiskSpace",
    ];
    let (outcome, _) = play(&backup(), &Log::default(), |mut phone| {
        phone.greet();
        for message in messages {
            assert_eq!(phone.ask(vec![message.into()]), -1, "{message}");
        }
        // These have nothing to do.
        for message in ["DLMessageMoveItems", "DLMessageMoveFiles", "DLMessageRemoveItems", "DLMessageRemoveFiles"] {
            assert_eq!(phone.ask(vec![message.into()]), 0, "{message}");
        }
        phone.say(vec!["DLMessageDownloadFiles".into()]);
        let mut end = [1; 4];
        phone.0.read_exact(&mut end).unwrap();
        assert_eq!(end, [0; 4]);
        assert_eq!(signed(&phone.hear()[1]), Some(0));
        phone.answer(0);
    });
    // It asked for things without saying which.
    assert!(matches!(outcome, Err(DeviceError::Lied { .. })), "{outcome:?}");
}

#[test]
fn files_that_are_not_there_are_told_one_by_one_and_the_rest_is_sent() {
    let (outcome, _) = play(&backup(), &Log::default(), |mut phone| {
        phone.greet();
        phone.upload(&format!("{UDID}/a"), b"12345");
        assert_eq!(phone.end_upload(), 0);
        let names = ["none", "a", "neither"].map(|name| format!("{UDID}/{name}"));
        let wanted = names.iter().map(|name| name.as_str().into()).collect();
        phone.say(vec!["DLMessageDownloadFiles".into(), Value::Array(wanted), Dictionary::new().into(), 0.0.into()]);
        let missing = b"no such file or directory";
        let mut expected = Vec::new();
        for (name, is_there) in names.iter().zip([false, true, false]) {
            expected.extend((name.len() as u32).to_be_bytes());
            expected.extend(name.as_bytes());
            match is_there {
                true => expected.extend(b"\0\0\0\x06\x0c12345\0\0\0\x01\0"),
                false => expected.extend([&b"\0\0\0\x1a\x06"[..], missing].concat()),
            }
        }
        expected.extend([0; 4]);
        let mut heard = vec![0; expected.len()];
        phone.0.read_exact(&mut heard).unwrap();
        assert_eq!(heard, expected);
        let status = phone.hear();
        assert_eq!((signed(&status[1]), status[2].as_string()), (Some(-13), Some("Multi status")));
        let failed = status[3].as_dictionary().unwrap();
        assert_eq!(failed.len(), 2);
        assert_eq!(signed(&failed.get(&names[0]).unwrap().as_dictionary().unwrap()["DLFileErrorCode"]), Some(-6));
        phone.answer(0);
    });
    let wire = outcome.unwrap().wire;
    assert_eq!((wire.files_in, wire.bytes_in, wire.files_out, wire.bytes_out), (1, 5, 1, 5));
}

/// Fails at everything.
struct Failing(fn() -> HostError);

impl Host for Failing {
    fn receive(&mut self, _: &BackupPath, _: &mut dyn Read) -> Result<(), HostError> {
        Err((self.0)())
    }
    fn open(&mut self, _: &BackupPath) -> Result<(Box<dyn Read + '_>, u64), HostError> {
        Err((self.0)())
    }
    fn list(&mut self, _: &BackupPath) -> Result<Vec<crate::Entry>, HostError> {
        Err((self.0)())
    }
    fn create_dir(&mut self, _: &BackupPath) -> Result<(), HostError> {
        Err((self.0)())
    }
    fn rename(&mut self, _: &BackupPath, _: &BackupPath) -> Result<(), HostError> {
        Err((self.0)())
    }
    fn copy(&mut self, _: &BackupPath, _: &BackupPath) -> Result<(), HostError> {
        Err((self.0)())
    }
    fn remove(&mut self, _: &BackupPath) -> Result<(), HostError> {
        Err((self.0)())
    }
    fn free_space(&mut self) -> Result<u64, HostError> {
        Err((self.0)())
    }
}

#[test]
fn a_host_that_cannot_go_on_ends_the_conversation_whatever_the_phone_asked() {
    let (path, list) = (|| Value::from(UDID), || Value::Array(vec![UDID.into()]));
    let moved = Dictionary::from_iter([(UDID.to_owned(), path())]);
    for message in [
        vec!["DLMessageDownloadFiles".into(), list()],
        vec!["DLContentsOfDirectory".into(), path()],
        vec!["DLMessageCreateDirectory".into(), path()],
        vec!["DLMessageMoveItems".into(), moved.into()],
        vec!["DLMessageCopyItem".into(), path(), path()],
        vec!["DLMessageRemoveItems".into(), list()],
        vec!["DLMessageGetFreeDiskSpace".into()],
        Vec::new(),
    ] {
        let (here, there) = UnixStream::pair().unwrap();
        let outcome = std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut phone = ByHand(there);
                phone.greet();
                match message.is_empty() {
                    true => {
                        phone.upload(&format!("{UDID}/a"), b"12345");
                        phone.0.write_all(b"\0\0\0\x01\0\0\0\0\0").unwrap();
                    }
                    false => phone.say(message),
                }
                // Until the host hangs up.
                let _ = phone.0.read_to_end(&mut Vec::new());
            });
            let mut socket = Socket::new(Box::new(here));
            hold(&mut socket, UDID, &backup(), &mut Failing(|| HostError::Fatal("gone".into())), &Log::default(), &mut || None)
        });
        assert!(matches!(&outcome, Err(DeviceError::Host(error)) if error.to_string() == "gone"), "{outcome:?}");
    }
}

/// Holds a conversation with a host that fails at everything.
fn play_failing(ask: &Ask, error: fn() -> HostError, play: impl FnOnce(ByHand) + Send) -> Result<Outcome> {
    let (here, there) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || play(ByHand(there)));
        let mut socket = Socket::new(Box::new(here));
        hold(&mut socket, UDID, ask, &mut Failing(error), &Log::default(), &mut || None)
    })
}

#[test]
fn what_failed_here_is_told_whatever_the_phone_makes_of_it() {
    let full: fn() -> HostError = || HostError::NoSpace;
    let worn: fn() -> HostError = || HostError::Io(io::Error::other("worn out"));
    let ends: [fn(&mut ByHand); 4] = [
        |phone| phone.answer(0),
        |phone| phone.answer(105),
        |phone| phone.say(vec!["DLMessageDisconnect".into(), "I am tired".into()]),
        // It hangs up without a word.
        |_| {},
    ];
    for (error, code) in [(full, -15), (worn, -11)] {
        for end in ends {
            let outcome = play_failing(&backup(), error, move |mut phone| {
                phone.greet();
                phone.upload(&format!("{UDID}/a"), b"12345");
                assert_eq!(phone.end_upload(), code);
                // It is served further.
                assert_eq!(phone.ask(vec!["DLMessageCreateDirectory".into(), UDID.into()]), code);
                end(&mut phone);
            });
            let Err(DeviceError::Host(told)) = outcome else { panic!("{outcome:?}") };
            assert_eq!(told.downcast::<HostError>().unwrap().to_string(), error().to_string());
        }
        let outcome = play_failing(&backup(), error, move |mut phone| {
            phone.greet();
            assert_eq!(phone.ask(vec!["DLMessageCopyItem".into(), UDID.into(), UDID.into()]), code);
            phone.answer(0);
        });
        assert!(matches!(outcome, Err(DeviceError::Host(_))), "{outcome:?}");
    }
}

#[test]
fn what_is_only_not_there_is_the_phones_to_judge() {
    let errors: [fn() -> HostError; 3] = [|| HostError::NotFound, || HostError::Exists, || HostError::Refused("not that".into())];
    for error in errors {
        let outcome = play_failing(&backup(), error, |mut phone| {
            phone.greet();
            phone.upload(&format!("{UDID}/a"), b"12345");
            assert!(phone.end_upload() < 0);
            assert!(phone.ask(vec!["DLMessageCreateDirectory".into(), UDID.into()]) < 0);
            phone.answer(0);
        });
        assert!(outcome.is_ok(), "{outcome:?}");
    }
}

#[test]
fn a_restore_without_what_cannot_be_read_here_does_not_succeed() {
    let restore = Ask::Restore(RestoreOptions { source: UDID.into(), ..RestoreOptions::default() });
    for (ask, succeeds) in [(restore, false), (backup(), true)] {
        let outcome = play_failing(
            &ask,
            || HostError::Io(io::Error::other("worn out")),
            |mut phone| {
                phone.greet();
                let name = format!("{UDID}/a");
                phone.say(vec!["DLMessageDownloadFiles".into(), Value::Array(vec![name.as_str().into()])]);
                // Its name, a frame that says why there are no bytes, and the end of the files.
                phone.0.read_exact(&mut vec![0; 4 + name.len() + 5 + "worn out".len() + 4]).unwrap();
                assert_eq!(signed(&phone.hear()[1]), Some(-13));
                phone.answer(0);
            },
        );
        assert_eq!(outcome.is_ok(), succeeds, "{outcome:?}");
        assert!(succeeds || matches!(outcome, Err(DeviceError::Host(_))));
    }
}

#[test]
fn a_phone_that_hangs_up_instead_of_answering_may_say_why() {
    let say = |text: &'static str| {
        play(&backup(), &Log::default(), move |mut phone| {
            phone.greet();
            phone.say(vec!["DLMessageDisconnect".into(), text.into()]);
        })
        .0
    };
    assert!(matches!(say("I am \x1b[31mtired"), Err(DeviceError::Refused { error, .. }) if error == "I am  [31mtired"));
    assert!(matches!(say(NOTHING), Err(DeviceError::Unplugged { .. })));
}

#[test]
fn a_phone_that_restarts_after_its_answer_has_answered() {
    let wanted = RestoreOptions { source: UDID.into(), ..RestoreOptions::default() };
    let (outcome, _) = play(&Ask::Restore(wanted), &Log::default(), |mut phone| {
        let request = phone.greet();
        assert_eq!(request.get("MessageName").and_then(Value::as_string), Some("Restore"));
        assert_eq!(request.get("SourceIdentifier").and_then(Value::as_string), Some(UDID));
        phone.answer(0);
    });
    outcome.unwrap();
}

#[test]
fn strange_greetings_are_the_phones_fault() {
    for greeting in [
        vec!["DLMessageVersionExchange".into()],
        vec!["DLMessageVersionExchange".into(), (-1).into()],
        vec!["DLMessageVersionExchange".into(), 900.into(), 0.into()],
        vec!["Hello".into(), 400.into()],
    ] {
        let (outcome, _) = play(&backup(), &Log::default(), move |mut phone| phone.say(greeting));
        assert!(matches!(outcome, Err(DeviceError::Lied { .. })), "{outcome:?}");
    }
}

#[test]
fn passwords_are_not_in_what_is_printed() {
    let secret = || Some(Zeroizing::new("hunter2".to_owned()));
    for ask in [
        Ask::ChangePassword { old: secret(), new: secret() },
        Ask::Restore(RestoreOptions { password: secret(), ..RestoreOptions::default() }),
    ] {
        assert!(!format!("{ask:?}").contains("hunter2"));
    }
}
