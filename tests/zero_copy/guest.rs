//! The guest: fetched, packed, booted, talked to over its serial console, and killed when it is dropped.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// What the guest says to us begins so; the rest of the console is its log.
const MARK: &str = "@@";

/// Why there is no guest.
pub enum NoGuest {
    /// Its parts cannot be had here: the test skips aloud.
    Unavailable(String),
    /// Something is broken.
    Broken(String),
}

/// The wire to one NIC: our end, where the NIC's is, and what it sent.
struct Wire {
    socket: UnixDatagram,
    nic: PathBuf,
    sent: Receiver<Vec<u8>>,
}

/// A running guest and the wires to its NICs.
pub struct Guest {
    qemu: Child,
    orders: Option<ChildStdin>,
    lines: Receiver<String>,
    log: Vec<String>,
    wires: Vec<Wire>,
    _directory: tempfile::TempDir,
}

/// Fetches what is missing into `cache`; the pinned parts are verified there.
pub fn fetch(cache: &Path) -> Result<(), NoGuest> {
    let output = Command::new(script("fetch.sh"))
        .arg(cache)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| NoGuest::Broken(format!("fetch.sh: {error}")))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match output.status.code() {
        Some(0) => Ok(()),
        // As fetch.sh says of itself: 3 means that the packages cannot be had here.
        Some(3) => Err(NoGuest::Unavailable(said)),
        code => Err(NoGuest::Broken(format!("fetch.sh ended with {code:?}: {said}"))),
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/qemu").join(name)
}

impl Guest {
    /// Packs `overlay` and boots. `vcpus` cores, and igb NICs whose wires are ours; the guest's `init` is told how many.
    pub fn boot(cache: &Path, overlay: &Path, vcpus: usize, nics: usize) -> Result<Guest, NoGuest> {
        let broken = |what: &str, error: std::io::Error| NoGuest::Broken(format!("{what}: {error}"));
        let directory = tempfile::tempdir().map_err(|error| broken("temporary directory", error))?;
        let initrd = directory.path().join("initrd.gz");
        let packed = Command::new(script("mkinitrd.sh"))
            .args([cache, overlay, &initrd])
            .output()
            .map_err(|error| broken("mkinitrd.sh", error))?;
        if !packed.status.success() {
            return Err(NoGuest::Broken(format!("mkinitrd.sh: {}", String::from_utf8_lossy(&packed.stderr))));
        }
        let unpacked = cache.join("q");
        let (mut wires, mut devices) = (Vec::new(), Vec::new());
        for number in 0..nics {
            let end = |name: &str| directory.path().join(format!("{name}{number}"));
            let (host, nic) = (end("host"), end("nic"));
            let socket = UnixDatagram::bind(&host).map_err(|error| broken("wire", error))?;
            // A guest that hangs must not hang us: a send that finds no room for so long is a failure.
            socket.set_write_timeout(Some(Duration::from_secs(30))).map_err(|error| broken("wire", error))?;
            let (ours, theirs) = (host.display(), nic.display());
            devices.extend([
                "-netdev".to_owned(),
                format!("dgram,id=n{number},local.type=unix,local.path={theirs},remote.type=unix,remote.path={ours}"),
                // Each igb behind a root port of its own, and without its option ROM.
                "-device".into(),
                format!("pcie-root-port,id=rp{number},chassis={0},slot={0}", number + 1),
                "-device".into(),
                format!("igb,bus=rp{number},netdev=n{number},romfile=,mac=02:00:00:00:01:0{number}"),
            ]);
            // Always read, so that QEMU never waits for us.
            let reader = socket.try_clone().map_err(|error| broken("wire", error))?;
            let (sender, sent) = channel();
            std::thread::spawn(move || {
                let mut frame = [0; 16_384];
                while let Ok(length) = reader.recv(&mut frame) {
                    if sender.send(frame[..length].to_vec()).is_err() {
                        return;
                    }
                }
            });
            wires.push(Wire { socket, nic, sent });
        }
        let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|path| unpacked.join(path));
        let append =
            format!("console=ttyS0 quiet panic=-1 net.ifnames=0 mitigations=off ipv6.disable=1 shrike.ports={nics}");
        // TCG on purpose: a /dev/kvm that opens is no evidence that it works, and this must run where there is none.
        let accelerator = std::env::var("QEMU_ACCEL").unwrap_or("tcg,thread=multi".into());
        let mut qemu = Command::new(unpacked.join("usr/bin/qemu-system-x86_64"))
            .env("LD_LIBRARY_PATH", std::env::join_paths(libraries).expect("no colon in a cache's path"))
            .arg("-L")
            .arg(unpacked.join("usr/share/qemu"))
            .arg("-L")
            .arg(unpacked.join("usr/share/seabios"))
            .args(["-machine", "q35", "-accel", &accelerator, "-cpu", "max", "-m", "1024"])
            .args(["-smp", &vcpus.to_string()])
            .args(["-nographic", "-nodefaults", "-no-reboot", "-serial", "stdio", "-monitor", "none"])
            .arg("-kernel")
            .arg(cache.join("vmlinuz"))
            .arg("-initrd")
            .arg(&initrd)
            .args(["-append", &append])
            .args(&devices)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| broken("qemu", error))?;
        let console = BufReader::new(qemu.stdout.take().expect("piped above"));
        let orders = qemu.stdin.take();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in console.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Guest { qemu, orders, lines, log: Vec::new(), wires, _directory: directory })
    }

    /// What the guest says under `name`, within `limit`.
    pub fn hear(&mut self, name: &str, limit: Duration) -> Result<String, String> {
        let end = Instant::now() + limit;
        let wanted = format!("{MARK}{name}");
        let exit = format!("{MARK}exit ");
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    // The console may put its own text before ours.
                    let said = line.find(MARK).map_or("", |at| &line[at..]);
                    if let Some(rest) = said.strip_prefix(&wanted) {
                        return Ok(rest.trim().to_owned());
                    }
                    let ended = said.starts_with(&exit);
                    self.log.push(line);
                    if ended {
                        return Err(format!("the guest ended before it said '{name}':\n{}", self.log_tail()));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("the guest did not say '{name}' within {limit:?}:\n{}", self.log_tail()));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("QEMU ended before the guest said '{name}':\n{}", self.log_tail()));
                }
            }
        }
    }

    /// Gives the guest an order.
    pub fn order(&mut self, order: &str) -> Result<(), String> {
        let orders = self.orders.as_mut().expect("piped at the start");
        writeln!(orders, "{order}").and_then(|()| orders.flush()).map_err(|error| format!("order {order}: {error}"))
    }

    /// Puts a frame on the wire of a NIC; waits while its queue is full, as a wire with flow control would.
    pub fn send(&self, nic: usize, frame: &[u8]) -> Result<(), String> {
        let wire = &self.wires[nic];
        match wire.socket.send_to(frame, &wire.nic) {
            Ok(length) if length == frame.len() => Ok(()),
            Ok(length) => Err(format!("{length} of {} bytes sent", frame.len())),
            Err(error) => Err(format!("send: {error}")),
        }
    }

    /// The next frame that a NIC sent; `None` if none came in time.
    pub fn receive(&self, nic: usize, limit: Duration) -> Option<Vec<u8>> {
        self.wires[nic].sent.recv_timeout(limit).ok()
    }

    /// The end of the guest's log.
    pub fn log_tail(&self) -> String {
        self.log[self.log.len().saturating_sub(120)..].join("\n")
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
