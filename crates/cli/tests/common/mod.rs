//! Runs the built program in a place of its own.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

pub mod page;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

pub const PASSWORD: &str = "tulip-harbour-39-varnish";

/// A home, a cache and a repository that nobody else uses.
pub struct Place {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

/// How a run ended and what it said.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    pub fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap(), variables: vec![("RUSSET_PASSWORD".into(), PASSWORD.into())] }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sets a variable for the runs to come; an empty value counts as none.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Place {
        self.variables.push((name.into(), value.into()));
        self
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Runs the program.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.output(arguments);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Runs the program, wants it to end well, and gives what it wrote, which need not be text.
    #[track_caller]
    pub fn bytes(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.output(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        output.stdout
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Nobody is at the terminal, and nothing of this computer shows through.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_russet"));
        command.args(arguments).stdin(Stdio::null()).current_dir(self.folder.path());
        for variable in ["RUSSET_KEY_FILE", "RUSSET_STATE"] {
            command.env_remove(variable);
        }
        for variable in ["RUSSET_REPO", "RUSSET_PASSWORD", "RUSSET_NEW_PASSWORD", "RUSSET_PHONE_PASSWORD"] {
            command.env_remove(variable);
        }
        for variable in ["RUSSET_NEW_PHONE_PASSWORD", "USBMUXD_SOCKET_ADDRESS", "XDG_DATA_HOME", "XDG_STATE_HOME"] {
            command.env_remove(variable);
        }
        for variable in ["RUSSET_CONFIG", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY"] {
            command.env_remove(variable);
        }
        let at = |name: &str| self.path(name).into_os_string();
        command.env("HOME", at("home")).env("XDG_CACHE_HOME", at("cache")).env("RUSSET_REPO", at("repo")).env("TZ", "UTC");
        for (name, value) in &self.variables {
            match value.is_empty() {
                true => command.env_remove(name),
                false => command.env(name, value),
            };
        }
        command
    }

    /// Runs the program and wants it to end well.
    #[track_caller]
    pub fn done(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        ran
    }

    /// Runs the program with `--json` and wants one object, of the shape that JSON.md says, and no words beside it.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        let printed = self.done(&all).json();
        page::check_line(arguments, &printed);
        printed
    }

    /// A folder with a few files of several kinds.
    pub fn some_files(&self) -> PathBuf {
        self.write("files/notes/today.txt", "buy milk\n");
        self.write("files/notes/empty", "");
        self.write(
            "files/picture.jpg",
            (0..200_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect::<Vec<u8>>(),
        );
        self.write("files/deep/er/and/deeper/file", "found");
        self.path("files")
    }
}

impl Ran {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Wants this exit code, and these words on stderr.
    #[track_caller]
    pub fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in {:?}", self.stderr);
        }
    }
}

/// Every file and link below a folder: path, and bytes or target.
pub fn files_in(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_owned();
            match fs::read_link(&path) {
                Ok(target) => files.push((name, target.into_os_string().into_encoded_bytes())),
                Err(_) if path.is_dir() => folders.push(path),
                Err(_) => files.push((name, fs::read(&path).unwrap())),
            }
        }
    }
    files.sort();
    files
}
