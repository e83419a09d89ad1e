//! A pair run by the shipped program, whose configuration can be changed, and whose store stays over starts.

use super::pair::PairBed;
use super::process::Shrike;
use std::path::PathBuf;
use std::process::{Command, Output};

/// The bed, and where configuration and responses lie.
pub struct Wire {
    pub bed: PairBed,
    folder: tempfile::TempDir,
    /// What else the configuration says of the pair.
    pub pair: String,
    /// What else it says.
    pub rest: String,
}

impl Wire {
    /// With further lines of the pair, and of the file.
    pub fn new(pair: &str, rest: &str) -> Wire {
        let folder = tempfile::tempdir().unwrap();
        let wire = Wire { bed: PairBed::new(1), folder, pair: pair.to_owned(), rest: rest.to_owned() };
        wire.write();
        wire
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("shrike.toml")
    }

    /// Writes the configuration as it is to be.
    pub fn write(&self) {
        let responses = self.folder.path().join("responses.db");
        // The longest heartbeat that is allowed: the test shares the machine with all others.
        let text = format!(
            "[[pair]]\nname = \"wire\"\nports = [\"a0\", \"b0\"]\nnetns = \"{0}\"\nring = 8192\nheartbeat_ms = 1000\n{1}\n\
             [capture]\ninstance = \"{0}\"\n[flow]\ncapacity = 16384\n[respond]\nstore = {2:?}\n{3}\n",
            self.bed.appliance, self.pair, responses, self.rest
        );
        std::fs::write(self.config(), text).unwrap();
    }

    pub fn start(&self) -> Shrike {
        Shrike::start_plan(&["-c".to_owned(), self.config().to_str().unwrap().to_owned()])
    }

    /// Runs a command of the program.
    pub fn shrike(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_shrike")).args(arguments).env_remove("SHRIKE_CONFIG").output().unwrap()
    }

    /// The same, of which nothing may be wrong: what it says.
    pub fn says(&self, arguments: &[&str]) -> String {
        let output = self.shrike(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same on the pinned maps.
    pub fn bypass(&self, arguments: &[&str]) -> String {
        self.says(&[&["bypass"], arguments, &["-c", self.config().to_str().unwrap()]].concat())
    }

    /// The same of a running one.
    pub fn asks(&self, shrike: &Shrike, arguments: &[&str]) -> String {
        let url = format!("http://{}", shrike.address());
        self.says(&[arguments, &["--url", &url]].concat())
    }
}
