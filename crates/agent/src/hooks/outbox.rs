//! What goes its own way: notifications on the desktop and calls of a webhook, each in a thread of its own and with a time limit.

use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{start, wait};

/// How long a notification may take to be shown.
const SHOWN: Duration = Duration::from_secs(5);

/// Which address below that of the webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// A good backup.
    Good,
    /// One begins.
    Start,
    /// Something failed.
    Fail,
}

/// What is on its way.
#[derive(Debug, Default)]
pub struct Outbox(Mutex<Vec<Job>>);

#[derive(Debug)]
struct Job {
    until: Instant,
    done: Receiver<Result<(), String>>,
}

impl Outbox {
    /// Calls a webhook. It is told nothing but that it is called.
    pub fn call(&self, url: &str, which: Call, limit: Duration) {
        let (url, whole) = (below(url, which), url.to_owned());
        self.send(limit, move || {
            let config = ureq::Agent::config_builder().timeout_global(Some(limit)).user_agent("russet").build();
            match config.new_agent().get(&url).call() {
                Ok(_) => Ok(()),
                // The address is a secret.
                Err(error) => Err(format!("the webhook could not be called: {}", error.to_string().replace(&whole, "…"))),
            }
        });
    }

    /// Shows something on the desktop, if there is one.
    pub fn show(&self, title: &str, text: &str) {
        let Some(mut command) = notification(title, text) else { return };
        self.send(SHOWN, move || {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            // Where nothing shows notifications, there is nobody to tell that either.
            start(&mut command).and_then(|child| wait(child, SHOWN)).ok();
            Ok(())
        });
    }

    /// Waits for what is on its way, each no longer than its limit, and says what did not get through.
    pub fn finish(&self) -> Vec<String> {
        let jobs = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let outcome = |job: Job| match job.done.recv_timeout(job.until.saturating_duration_since(Instant::now())) {
            Ok(outcome) => outcome.err(),
            // Its thread is left behind, and ends with the process.
            Err(_) => Some("the webhook did not answer in time".to_owned()),
        };
        jobs.into_iter().filter_map(outcome).collect()
    }

    fn send(&self, limit: Duration, work: impl FnOnce() -> Result<(), String> + Send + 'static) {
        let (tell, done) = channel();
        // Whoever would be told may be gone.
        std::thread::spawn(move || tell.send(work()).ok());
        let job = Job { until: Instant::now() + limit, done };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(job);
    }
}

/// The address with a word behind its path, and before a query.
fn below(url: &str, which: Call) -> String {
    let word = match which {
        Call::Good => return url.to_owned(),
        Call::Start => "start",
        Call::Fail => "fail",
    };
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let (path, query) = url.split_at(end);
    format!("{}/{word}{query}", path.trim_end_matches('/'))
}

/// The command that shows something on this system's desktop. Texts are never part of a script.
fn notification(title: &str, text: &str) -> Option<Command> {
    let plain = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let (title, text) = (plain(title), plain(text));
    if cfg!(target_os = "macos") {
        let mut command = Command::new("osascript");
        for line in ["on run argv", "display notification (item 2 of argv) with title (item 1 of argv)", "end run"] {
            command.args(["-e", line]);
        }
        command.args([title, text]);
        return Some(command);
    }
    if cfg!(windows) {
        let mut command = Command::new("powershell");
        command.args(["-NoProfile", "-NonInteractive", "-Command", POWERSHELL]);
        command.env("RUSSET_TITLE", title).env("RUSSET_TEXT", text);
        return Some(command);
    }
    // The body may hold markup, so what would be taken for it is written out.
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mut command = Command::new("notify-send");
    command.args(["--app-name=russet", "--icon=phone", "--", &title, &text]);
    Some(command)
}

const POWERSHELL: &str = "\
$null = [Windows.UI.Notifications.ToastNotificationManager, Windows.UI.Notifications, ContentType = WindowsRuntime]; \
$toast = [Windows.UI.Notifications.ToastNotificationManager]::GetTemplateContent([Windows.UI.Notifications.ToastTemplateType]::ToastText02); \
$texts = $toast.GetElementsByTagName('text'); \
$null = $texts.Item(0).AppendChild($toast.CreateTextNode($env:RUSSET_TITLE)); \
$null = $texts.Item(1).AppendChild($toast.CreateTextNode($env:RUSSET_TEXT)); \
[Windows.UI.Notifications.ToastNotificationManager]::CreateToastNotifier('russet').Show([Windows.UI.Notifications.ToastNotification]::new($toast))";

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn words_go_behind_the_path_and_before_the_query() {
        let check = |url: &str, which, expected: &str| assert_eq!(below(url, which), expected);
        check("https://hc-ping.com/ab", Call::Good, "https://hc-ping.com/ab");
        check("https://hc-ping.com/ab/", Call::Start, "https://hc-ping.com/ab/start");
        check("https://x/ab?create=1", Call::Fail, "https://x/ab/fail?create=1");
    }

    #[test]
    fn a_webhook_is_called_with_nothing_but_its_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/ab", listener.local_addr().unwrap());
        let outbox = Outbox::default();
        outbox.call(&url, Call::Fail, Duration::from_secs(60));
        let (mut stream, _) = listener.accept().unwrap();
        let request = request(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nOK").unwrap();
        assert!(request.starts_with("GET /ab/fail HTTP/1.1\r\n"), "{request}");
        assert_eq!(outbox.finish(), Vec::<String>::new());
    }

    fn request(stream: &mut TcpStream) -> String {
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
            request.push(byte[0]);
        }
        String::from_utf8(request).unwrap()
    }

    #[test]
    fn a_webhook_that_never_answers_holds_nobody_up() {
        // It takes connections, and says nothing.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/secret-ab", listener.local_addr().unwrap());
        let outbox = Outbox::default();
        outbox.call(&url, Call::Good, Duration::from_secs(3_600));
        // That this line is reached is the proof: the call goes on for an hour.
        let (mut stream, _) = listener.accept().unwrap();
        assert!(request(&mut stream).starts_with("GET /secret-ab "));

        let outbox = Outbox::default();
        outbox.call(&url, Call::Good, Duration::from_millis(200));
        let lost = outbox.finish();
        assert!(lost.len() == 1 && !lost[0].contains("secret-ab"), "{lost:?}");
    }

    #[test]
    fn nobody_is_told_an_address_that_cannot_be_reached() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/secret-ab", listener.local_addr().unwrap());
        drop(listener);
        let outbox = Outbox::default();
        outbox.call(&url, Call::Good, Duration::from_secs(60));
        let lost = outbox.finish();
        assert!(lost.len() == 1 && lost[0].starts_with("the webhook") && !lost[0].contains("secret-ab"), "{lost:?}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_notification_takes_a_hostile_name_as_text() {
        let command = notification("-rf\nx", "<b>$(id)</b>").unwrap();
        let arguments: Vec<_> = command.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
        assert_eq!(arguments[arguments.len() - 3..], ["--", "-rf x", "&lt;b&gt;$(id)&lt;/b&gt;"]);
    }
}
