//! Credential helpers, `docker-credential-NAME get`: the server on stdin, JSON on stdout.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::store::{AuthStoreError, Credential};

/// How long a helper may take. It may have to ask a key ring, but nobody sits there to answer a question.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 256 * 1024;
/// What helpers print, with exit status 1, when they have nothing for a server.
const NOT_FOUND: &str = "credentials not found";
/// The user name that says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Asks the helper `name` for `server`, on a thread for blocking work. Dropping the future leaves the helper to end
/// within its time limit.
pub(super) async fn get(name: &str, server: &str) -> Result<Option<Credential>, AuthStoreError> {
    let (program, input) = (program(name)?, server.to_owned());
    let asked = tokio::task::spawn_blocking(move || ask(&program, &input)).await;
    asked.unwrap_or_else(|_| Err(failed(name, server, "it was interrupted")))
}

/// The name comes from a file that a user wrote; it must not be a path.
fn program(name: &str) -> Result<String, AuthStoreError> {
    let valid = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !valid {
        return Err(AuthStoreError::HelperName { name: name.chars().take(100).collect() });
    }
    Ok(format!("docker-credential-{name}"))
}

fn ask(program: &str, server: &str) -> Result<Option<Credential>, AuthStoreError> {
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|source| AuthStoreError::HelperStart { program: program.into(), source })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that doesn't read its input says what it thinks through its exit status.
        let _ = stdin.write_all(server.as_bytes());
    }
    let output = child.stdout.take();
    // Read beside the wait: a helper that writes more than a pipe holds would never end.
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let read = output.map(|output| output.take(MAX_ANSWER).read_to_end(&mut text));
        // Nobody may be waiting any more.
        let _ = sender.send(read.unwrap_or(Ok(0)).map(|_| text));
    });
    let success = wait(&mut child).ok_or_else(|| failed(program, server, "it took too long"))?;
    // Not a join: a child of the helper may hold the pipe open.
    let text = match receiver.recv_timeout(TIMEOUT) {
        Ok(Ok(text)) => text,
        _ => return Err(failed(program, server, "its answer could not be read")),
    };
    answer(program, server, success, &text)
}

/// Whether the helper ended well; `None` when it had to be killed.
fn wait(child: &mut Child) -> Option<bool> {
    let deadline = Instant::now() + TIMEOUT;
    let mut pause = Duration::from_millis(1);
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.success()),
            Ok(None) => std::thread::sleep(pause),
            Err(_) => break,
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    // It may have ended by itself meanwhile; either way nothing of it is left.
    let _ = child.kill();
    let _ = child.wait();
    None
}

fn answer(
    program: &str,
    server: &str,
    success: bool,
    text: &[u8],
) -> Result<Option<Credential>, AuthStoreError> {
    if !success {
        let shown = String::from_utf8_lossy(text);
        if shown.to_ascii_lowercase().contains(NOT_FOUND) {
            return Ok(None);
        }
        return Err(failed(program, server, crate::redact::line(&shown, 200)));
    }
    // The parser's message could quote a part of the secret.
    let answer: Answer =
        serde_json::from_slice(text).map_err(|_| failed(program, server, "its answer is not valid JSON"))?;
    Ok(match (answer.username, answer.secret) {
        (user, secret) if user.is_empty() && secret.is_empty() => None,
        (user, secret) if user == TOKEN_USER => Some(Credential::Identity(secret.into())),
        (username, secret) => Some(Credential::Basic { username, password: secret.into() }),
    })
}

fn failed(program: &str, server: &str, problem: impl Into<String>) -> AuthStoreError {
    AuthStoreError::Helper { program: program.into(), server: server.into(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A helper under its full path: the search path of the process is shared by all tests.
    fn helper(script: &str) -> (tempfile::TempDir, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("docker-credential-test");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let text = path.to_str().unwrap().to_owned();
        (directory, text)
    }

    fn ask_retrying(program: &str, server: &str) -> Result<Option<Credential>, AuthStoreError> {
        // Another thread's fork may hold the script open for writing for a moment (ETXTBSY).
        for _ in 0..50 {
            match ask(program, server) {
                Err(AuthStoreError::HelperStart { source, .. }) if source.raw_os_error() == Some(26) => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                other => return other,
            }
        }
        ask(program, server)
    }

    #[test]
    fn a_helper_gets_the_server_and_gives_a_credential() {
        let (_keep, program) = helper(
            r#"read server; echo "{\"ServerURL\":\"$server\",\"Username\":\"$1\",\"Secret\":\"$server\"}""#,
        );
        let credential = ask_retrying(&program, "registry.example:5000").unwrap();
        assert_eq!(
            credential,
            Some(Credential::Basic { username: "get".into(), password: "registry.example:5000".into() })
        );
    }

    #[test]
    fn identity_tokens_are_told_apart() {
        let (_keep, program) = helper(r#"echo '{"Username":"<token>","Secret":"t"}'"#);
        assert_eq!(ask_retrying(&program, "x").unwrap(), Some(Credential::Identity("t".into())));
    }

    #[test]
    fn nothing_found_is_not_an_error_but_a_failure_is() {
        let (_keep, program) = helper("echo credentials not found in native keychain; exit 1");
        assert_eq!(ask_retrying(&program, "x").unwrap(), None);
        let (_keep, program) = helper("echo the key ring is locked; exit 1");
        let error = ask_retrying(&program, "x").unwrap_err();
        assert!(error.to_string().contains("the key ring is locked"), "{error}");
        let (_keep, program) = helper("echo not json");
        assert!(ask_retrying(&program, "x").is_err());
        assert!(matches!(ask("/nonexistent/helper", "x"), Err(AuthStoreError::HelperStart { .. })));
    }

    #[test]
    fn a_name_is_not_a_path() {
        for name in ["", "../x", "a/b", "a b", "a;b"] {
            assert!(program(name).is_err(), "{name}");
        }
        assert_eq!(program("osxkeychain").unwrap(), "docker-credential-osxkeychain");
    }
}
