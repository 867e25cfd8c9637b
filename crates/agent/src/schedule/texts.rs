//! What is in the files of a schedule.

use super::quote::{systemd, windows, xml};
use super::{LABEL, UNIT};

/// The service: one look for phones, and a backup of those that are due.
pub(super) fn service(program: &str, options: &[String]) -> String {
    let words: Vec<String> = [program].into_iter().chain(options.iter().map(String::as_str)).map(systemd).collect();
    format!(
        "[Unit]
Description=Back up the phones that russet knows

[Service]
Type=oneshot
ExecStart={} agent --once
# A backup takes as long as it takes, and nobody at the computer should feel it.
TimeoutStartSec=infinity
Nice=10
IOSchedulingClass=best-effort
IOSchedulingPriority=7
# The passcode was not entered or the phone is locked: it is tried again, and no failure of the service.
SuccessExitStatus=13 14
",
        words.join(" ")
    )
}

/// The timer: looks now and then, which also finds phones that were there all the time.
pub(super) fn timer(minutes: u32) -> String {
    format!(
        "[Unit]
Description=Look for phones that are due for a backup

[Timer]
OnStartupSec=2min
OnUnitInactiveSec={minutes}min
RandomizedDelaySec=30

[Install]
WantedBy=timers.target
"
    )
}

/// The path: where usbmuxd is started when a phone is plugged in, its socket appears then.
pub(super) fn path() -> String {
    format!(
        "[Unit]
Description=Look for phones as soon as usbmuxd has one

[Path]
PathChanged=/run/usbmuxd
Unit={UNIT}.service

[Install]
WantedBy=paths.target
"
    )
}

/// The rule: where usbmuxd runs all the time, or not at all, the kernel tells that a phone was plugged in.
pub(super) fn udev() -> String {
    format!(
        "# Has russet look for phones as soon as an iPhone, iPad or iPod touch is plugged in, for every user who installed its schedule.
ACTION==\"add\", SUBSYSTEM==\"usb\", ENV{{DEVTYPE}}==\"usb_device\", ATTR{{idVendor}}==\"05ac\", ATTR{{idProduct}}==\"12[9a][0-9a-f]\", \\
  TAG+=\"systemd\", ENV{{SYSTEMD_USER_WANTS}}+=\"{UNIT}.service\"
"
    )
}

/// The agent of launchd. It goes on running and hears of phones itself.
pub(super) fn launchd(program: &str, options: &[String], log: &str) -> String {
    let words = [program].into_iter().chain(options.iter().map(String::as_str)).chain(["agent"]);
    let words: String = words.map(|word| format!("    <string>{}</string>\n", xml(word))).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">
<plist version=\"1.0\">
<dict>
  <key>Label</key>
  <string>{LABEL}</string>
  <key>ProgramArguments</key>
  <array>
{words}  </array>
  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <true/>
  <key>ThrottleInterval</key>
  <integer>60</integer>
  <key>ProcessType</key>
  <string>Background</string>
  <key>LowPriorityIO</key>
  <true/>
  <key>StandardErrorPath</key>
  <string>{}</string>
</dict>
</plist>
",
        xml(log)
    )
}

/// The task of Windows.
pub(super) fn task(program: &str, options: &[String], minutes: u32) -> String {
    let arguments: Vec<String> = options.iter().map(String::as_str).chain(["agent", "--once"]).map(windows).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-16\"?>
<Task version=\"1.3\" xmlns=\"http://schemas.microsoft.com/windows/2004/02/mit/task\">
  <RegistrationInfo>
    <Description>Back up the phones that russet knows</Description>
  </RegistrationInfo>
  <Triggers>
    <LogonTrigger>
      <Enabled>true</Enabled>
      <Delay>PT2M</Delay>
    </LogonTrigger>
    <TimeTrigger>
      <Repetition>
        <Interval>PT{minutes}M</Interval>
        <StopAtDurationEnd>false</StopAtDurationEnd>
      </Repetition>
      <StartBoundary>2020-01-01T00:00:00</StartBoundary>
      <Enabled>true</Enabled>
    </TimeTrigger>
  </Triggers>
  <Principals>
    <Principal id=\"Author\">
      <LogonType>InteractiveToken</LogonType>
      <RunLevel>LeastPrivilege</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <StartWhenAvailable>true</StartWhenAvailable>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <Priority>8</Priority>
  </Settings>
  <Actions Context=\"Author\">
    <Exec>
      <Command>{}</Command>
      <Arguments>{}</Arguments>
    </Exec>
  </Actions>
</Task>
",
        xml(program),
        xml(&arguments.join(" "))
    )
}
