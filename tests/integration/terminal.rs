//! What differs where a person looks on: tables instead of lines, and progress, which no pipe ever sees. The terminal here is one that
//! does not know its width.

use crate::command_line::warehouse;
use crate::support::python;
use std::process::Command;

/// Runs the binary with a terminal for standard output, for standard error, or for neither; prints a JSON array of what it said to the
/// terminal, to the pipe of standard output and to that of standard error.
const SCRIPT: &str = r#"
import json, os, pty, subprocess, sys, threading
terminals, arguments = sys.argv[1], sys.argv[2:]
master, slave = pty.openpty()
ends = [slave if name in terminals.split(",") else subprocess.PIPE for name in ("out", "err")]
child = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=ends[0], stderr=ends[1], env={"TERM": "xterm"})
os.close(slave)
seen = []
def look():
    try:
        while part := os.read(master, 65536):
            seen.append(part)
    except OSError:
        pass  # how a terminal says that nobody writes to it any more
looking = threading.Thread(target=look)
looking.start()
out, err = child.communicate()
looking.join()
print(json.dumps([child.returncode] + [(part or b"").decode() for part in (b"".join(seen), out, err)]))
"#;

fn at(terminals: &str, arguments: &[&str]) -> Option<(i64, [String; 3])> {
    let python = python()?;
    let output = Command::new(python)
        .current_dir(warehouse())
        .args(["-c", SCRIPT, terminals, env!("CARGO_BIN_EXE_fastdata")])
        .args(arguments)
        .args(["--warehouse", "w"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (status, terminal, out, err): (i64, String, String, String) = serde_json::from_slice(&output.stdout).unwrap();
    Some((status, [terminal, out, err]))
}

#[test]
fn a_terminal_gets_a_short_table_and_a_pipe_every_row() {
    let scan = ["scan", "tpch.orders", "--select", "o_orderkey,o_orderdate"];
    let Some((status, [terminal, _, err])) = at("out", &scan) else { return };
    assert_eq!(status, 0, "{err}");
    assert!(terminal.contains("o_orderkey") && !terminal.contains("{\""), "{terminal}");
    assert_eq!(terminal.lines().count(), 42, "a header, 40 rows, a count:\n{terminal}");
    assert!(err.contains("the first 40 rows"), "{err}");
    let Some((_, [_, out, _])) = at("err", &scan) else { return };
    assert!(out.lines().count() > 1000 && out.starts_with("{\""));
}

#[test]
fn a_terminal_gets_no_binary_output() {
    let Some((status, [terminal, out, err])) = at("out", &["scan", "tpch.nation", "-o", "parquet"]) else { return };
    assert_eq!((status, terminal.as_str(), out.as_str()), (2, "", ""), "{err}");
    assert!(err.contains("--output FILE"), "{err}");
}

#[test]
fn progress_is_shown_on_a_terminal_only() {
    let scan = ["scan", "tpch.lineitem", "-o", "none", "--threads", "1", "--batch-rows", "50"];
    let Some((status, [terminal, ..])) = at("err", &scan) else { return };
    assert_eq!(status, 0, "{terminal}");
    assert!(terminal.contains(" of ") && terminal.contains("\u{1b}["), "no progress: {terminal:?}");
    let Some((_, [terminal, out, err])) = at("", &scan) else { return };
    assert_eq!((terminal.as_str(), out.as_str()), ("", ""));
    assert!(!err.contains('\u{1b}') && !err.contains(" of "), "{err:?}");
}
