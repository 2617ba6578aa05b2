//! One server process: started with a log file, waited for, ended with its children.
//!
//! Contract: [`Process::up`] says why, with the tail of the log, where the server ends or stays silent. A process of a test
//! ends when the value is dropped, and also when the test process is killed; a detached one that was released goes on until somebody ends it.
//!
//! How: each is the leader of a process group of its own, which the signals go to. The kernel sends a signal to the children of a dead parent, by
//! `setpriv`; it takes the thread that started them for the parent, so that one thread which lives as long as the process starts them all.

use std::fs::File;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, Once, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const START_TIMEOUT: Duration = Duration::from_secs(180);
/// Of folders of state, before the name of the server and the process that made them.
const FOLDER_PREFIX: &str = "fastdata-service-";
const LOG_TAIL: usize = 4000;

/// How long a server lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// No longer than the process that started it.
    Bound,
    /// From [`Process::release`] on, which is called when it is known how to end it.
    Detached,
}

/// What is to be started.
pub struct Program {
    pub name: &'static str,
    pub command: Command,
    pub log: PathBuf,
    /// The signal that ends it with all it has: its name, without `SIG`.
    pub stop: &'static str,
    /// Runs as this user instead of the caller, who is root.
    pub user: Option<&'static str>,
}

#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
    stop: &'static str,
    is_released: bool,
}

/// Why a server did not come up.
#[derive(Debug)]
pub struct Failed {
    has_ended: bool,
    text: String,
}

impl Failed {
    /// Fails the test.
    pub fn panic(self) -> ! {
        panic!("{}", self.text)
    }
}

impl Process {
    pub fn start(program: Program, life: Life) -> Process {
        let Program { name, command, log, stop, user } = program;
        let mut command = within(&command, (life == Life::Bound).then_some(stop), user);
        let file = File::options().create(true).append(true).open(&log).unwrap_or_else(|e| panic!("{}: {e}", log.display()));
        let errors = file.try_clone().expect("a second handle of the log");
        command.stdin(Stdio::null()).stdout(file).stderr(errors).process_group(0);
        let child = spawn(command).unwrap_or_else(|e| panic!("{name} cannot be started: {e}"));
        Process { name, child, log, stop, is_released: false }
    }

    /// Asks until the answer is yes; a server that does not come up is ended.
    pub fn up(mut self, mut answers: impl FnMut() -> bool) -> Result<Process, Failed> {
        let started = Instant::now();
        while !answers() {
            let ended = self.child.try_wait().expect("the state of a child");
            if ended.is_some() || started.elapsed() > START_TIMEOUT {
                let how = ended.map_or("did not answer in time".to_owned(), |status| format!("ended ({status})"));
                let text = format!("{} {how}; the end of {}:\n{}", self.name, self.log.display(), tail(&self.log));
                return Err(Failed { has_ended: ended.is_some(), text });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(self)
    }

    /// Lets it outlive the value, and where it is detached this process.
    pub fn release(mut self) {
        self.is_released = true;
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        self.end("KILL");
    }

    fn end(&mut self, signal: &str) {
        signal_group(self.child.id(), signal);
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_released && matches!(self.child.try_wait(), Ok(None)) {
            self.end(self.stop);
        }
    }
}

/// The same command as another user, and ended by a signal of the kernel when the thread that starts it has ended. `setpriv` replaces itself by the
/// program, so that the process id is the program's own.
pub fn within(command: &Command, stop: Option<&str>, user: Option<&str>) -> Command {
    let mut outer = Command::new("setpriv");
    if let Some(user) = user {
        outer.args(["--reuid", user, "--regid", user, "--clear-groups"]);
    }
    match stop {
        Some(stop) if cfg!(target_os = "linux") => {
            outer.args(["--pdeathsig", stop]);
        }
        _ if user.is_none() => outer = Command::new("env"),
        _ => {}
    }
    outer.arg("--").arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(key, value),
            None => outer.env_remove(key),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        outer.current_dir(directory);
    }
    outer
}

type Job = (Command, SyncSender<std::io::Result<Child>>);

fn spawn(command: Command) -> std::io::Result<Child> {
    static STARTER: OnceLock<Mutex<Sender<Job>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (jobs, taken) = channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, answer) in taken {
                // Nobody waits any more where a test was cut off; the child then ends with this process.
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(jobs)
    });
    let (answer, answered) = sync_channel(1);
    let gone = || std::io::Error::other("the thread that starts processes has ended");
    starter.lock().unwrap_or_else(PoisonError::into_inner).send((command, answer)).map_err(|_| gone())?;
    answered.recv().map_err(|_| gone())?
}

fn tail(log: &Path) -> String {
    let mut bytes = Vec::new();
    match File::open(log).and_then(|mut file| file.read_to_end(&mut bytes)) {
        Ok(_) => String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(LOG_TAIL)..]).into_owned(),
        Err(e) => format!("(it cannot be read: {e})"),
    }
}

/// Sends a signal, by its name without `SIG`, to a process and its children. They may have ended already.
pub fn signal_group(leader: u32, signal: &str) {
    let _ = Command::new("kill").args([&format!("-{signal}"), "--", &format!("-{leader}")]).stderr(Stdio::null()).status();
}

/// When a process began, in the kernel's own count; `None` where there is none, or one that has ended and waits for its parent.
pub fn start_time(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    (fields.first() != Some(&"Z")).then(|| fields.get(19).map(|time| (*time).to_owned()))?
}

pub fn is_free(port: u16) -> bool {
    TcpListener::bind(loopback(port)).is_ok()
}

/// A folder for the state of one server. Servers that all tests of a process share have no end of their own, so that their folders stay: those of
/// processes that are gone are removed on the way.
pub fn state_folder(name: &str) -> TempDir {
    static SWEPT: Once = Once::new();
    SWEPT.call_once(|| {
        for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner = name.strip_prefix(FOLDER_PREFIX).and_then(|rest| rest.split('-').nth(1)?.parse().ok());
            if owner.is_some_and(|pid| start_time(pid).is_none()) {
                // Another user's, or swept by another process at the same time: not ours to report.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    });
    let prefix = format!("{FOLDER_PREFIX}{name}-{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir().expect("a temporary directory")
}

/// Starts a server on these ports, and where it ends before it answers once more on others: somebody may have taken one in between.
pub fn on_ports(first: (u16, u16), mut launch: impl FnMut((u16, u16)) -> Result<Process, Failed>) -> ((u16, u16), Process) {
    let mut ports = first;
    let launched = launch(ports).or_else(|failed| match failed.has_ended {
        true => {
            ports = free_ports();
            launch(ports)
        }
        false => Err(failed),
    });
    (ports, launched.unwrap_or_else(|failed| failed.panic()))
}

/// The same for a server that takes one port.
pub fn on_free_port(mut launch: impl FnMut(u16) -> Result<Process, Failed>) -> (u16, Process) {
    let (ports, process) = on_ports(free_ports(), |ports| launch(ports.0));
    (ports.0, process)
}

pub fn free_ports() -> (u16, u16) {
    (free_port(), free_port())
}

/// A loopback port that nobody listened on a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind(loopback(0)).and_then(|listener| listener.local_addr()).expect("a free loopback port").port()
}

pub fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
