//! What has to be so before a backup begins by itself, as far as a computer can see it.
//!
//! What nobody can tell is taken for so: a condition that can never be met would be a silent end of all backups.

use std::fs;
use std::path::Path;

use russet_agent::config::Condition;
use russet_device::Facts;

/// Why the conditions are not met; nothing if they are.
pub(super) fn missing(conditions: &[Condition], phone: Option<&Facts>) -> Vec<&'static str> {
    missing_at(Path::new("/"), conditions, phone)
}

/// The same on a system whose files are below `root`.
fn missing_at(root: &Path, conditions: &[Condition], phone: Option<&Facts>) -> Vec<&'static str> {
    let is_missing = |condition: &Condition| match condition {
        Condition::Power => (phone.and_then(|facts| facts.on_power) == Some(false)).then_some("the phone is not on power"),
        Condition::HostPower => (host_on_power(root) == Some(false)).then_some("this computer is on its battery"),
        Condition::Network => (has_route(root) == Some(false)).then_some("this computer has no way to a network"),
    };
    conditions.iter().filter_map(is_missing).collect()
}

/// Whether this computer is on power: the kernel of Linux tells.
fn host_on_power(root: &Path) -> Option<bool> {
    let supplies = fs::read_dir(root.join("sys/class/power_supply")).ok()?;
    let read =
        |path: &Path, file: &str| fs::read_to_string(path.join(file)).map(|text| text.trim().to_owned()).unwrap_or_default();
    let (mut has_battery, mut has_socket) = (false, false);
    for supply in supplies.filter_map(Result::ok) {
        let path = supply.path();
        match read(&path, "type").as_str() {
            "Mains" | "USB" if read(&path, "online") == "1" => return Some(true),
            "Mains" | "USB" => has_socket = true,
            // A mouse has one too.
            "Battery" if read(&path, "scope") != "Device" => {
                has_battery = true;
                has_socket |= read(&path, "status") == "Discharging";
            }
            _ => {}
        }
    }
    Some(!(has_battery && has_socket))
}

/// Whether a route leads anywhere: the kernel of Linux tells.
fn has_route(root: &Path) -> Option<bool> {
    // Interface, destination, gateway, flags…; the destination of the default route is all zeros.
    let old = fs::read_to_string(root.join("proc/net/route")).ok()?;
    let is_default = |line: &str| line.split_whitespace().nth(1) == Some("00000000");
    // Destination, length of its prefix, …, interface; the kernel lists one through `lo` where there is none.
    let new = fs::read_to_string(root.join("proc/net/ipv6_route")).unwrap_or_default();
    let is_default_6 = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.len() == 10 && words[0].bytes().all(|b| b == b'0') && words[1] == "00" && words[9] != "lo"
    };
    Some(old.lines().skip(1).any(is_default) || new.lines().any(is_default_6))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Condition; 3] = [Condition::Power, Condition::HostPower, Condition::Network];

    fn system(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn what_nobody_can_tell_is_taken_for_so() {
        assert!(missing_at(system(&[]).path(), &ALL, None).is_empty());
    }

    #[test]
    fn a_computer_on_its_battery_or_without_a_route_is_noticed() {
        const ROUTES: &str = "Iface\tDestination\tGateway\tFlags\neth0\t0002A8C0\t00000000\t0001\n";
        let away = system(&[
            ("sys/class/power_supply/AC/type", "Mains\n"),
            ("sys/class/power_supply/AC/online", "0\n"),
            ("sys/class/power_supply/BAT0/type", "Battery\n"),
            ("proc/net/route", ROUTES),
        ]);
        assert_eq!(
            missing_at(away.path(), &ALL, None),
            ["this computer is on its battery", "this computer has no way to a network"]
        );
        let home = system(&[
            ("sys/class/power_supply/AC/type", "Mains\n"),
            ("sys/class/power_supply/AC/online", "1\n"),
            ("sys/class/power_supply/BAT0/type", "Battery\n"),
            ("proc/net/route", &format!("{ROUTES}eth0\t00000000\t0102A8C0\t0003\n")),
        ]);
        assert!(missing_at(home.path(), &ALL, None).is_empty());
    }

    #[test]
    fn a_computer_without_a_battery_is_on_power_though_its_mouse_is_not() {
        let desk = system(&[
            ("sys/class/power_supply/mouse/type", "Battery\n"),
            ("sys/class/power_supply/mouse/scope", "Device\n"),
            ("sys/class/power_supply/mouse/status", "Discharging\n"),
        ]);
        assert!(missing_at(desk.path(), &[Condition::HostPower], None).is_empty());
    }

    #[test]
    fn a_way_out_by_ipv6_alone_is_one() {
        let zeros = "0".repeat(32);
        let line = |interface: &str| format!("{zeros} 00 {zeros} 00 {zeros} 00000400 00000001 00000000 00000003 {interface}\n");
        let route = |interface: &str| system(&[("proc/net/route", "Iface\n"), ("proc/net/ipv6_route", &line(interface))]);
        assert!(missing_at(route("eth0").path(), &[Condition::Network], None).is_empty());
        assert_eq!(missing_at(route("lo").path(), &[Condition::Network], None).len(), 1);
    }
}
