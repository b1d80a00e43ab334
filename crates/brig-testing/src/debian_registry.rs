//! Debian's `docker-registry`: somebody else's implementation.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Unavailable, need_tool};

/// A running `docker-registry` on a free loopback port, with its storage in a temporary directory.
#[derive(Debug)]
pub struct DebianRegistry {
    host: String,
    child: Child,
    dir: TempDir,
}

impl DebianRegistry {
    /// Starts it.
    ///
    /// # Errors
    /// When it isn't installed.
    ///
    /// # Panics
    /// When it doesn't answer within ten seconds.
    pub fn start() -> Result<Self, Unavailable> {
        let program = need_tool("docker-registry")?;
        let dir = tempfile::tempdir().expect("a temporary directory");
        let host = free_address();
        let config = format!(
            "version: 0.1\nlog: {{level: warn, accesslog: {{disabled: true}}}}\n\
             storage:\n  filesystem: {{rootdirectory: {:?}}}\n  delete: {{enabled: true}}\n\
             http: {{addr: {host}}}\n",
            dir.path().join("storage"),
        );
        let config_path = dir.path().join("config.yml");
        fs::write(&config_path, config).expect("write the registry's configuration");
        let log = fs::File::create(dir.path().join("log")).expect("the registry's log");
        let child = Command::new(program)
            .arg("serve")
            .arg(&config_path)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("another descriptor"))
            .stderr(log)
            .env("OTEL_TRACES_EXPORTER", "none")
            .spawn()
            .expect("start docker-registry");
        let mut registry = Self { host, child, dir };
        registry.wait_until_ready();
        Ok(registry)
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// A full reference.
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.host)
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !answers(&self.host) {
            let ended = self.child.try_wait().expect("look at the registry").is_some();
            if ended || Instant::now() > deadline {
                let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
                panic!("docker-registry doesn't answer at {}:\n{log}", self.host);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for DebianRegistry {
    fn drop(&mut self) {
        // It may have died by itself, and the test has seen that.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that was free a moment ago.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free loopback port");
    listener.local_addr().expect("its address").to_string()
}

/// Whether `GET /v2/` is answered with 200.
fn answers(host: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(host) else { return false };
    let request = format!("GET /v2/ HTTP/1.0\r\nHost: {host}\r\n\r\n");
    let mut answer = String::new();
    stream.set_read_timeout(Some(Duration::from_secs(2))).is_ok()
        && stream.write_all(request.as_bytes()).is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.lines().next().is_some_and(|line| line.contains(" 200 "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_and_stops() {
        let registry = crate::need!(DebianRegistry::start());
        let host = registry.host().to_owned();
        assert!(answers(&host));
        drop(registry);
        assert!(TcpStream::connect(&host).is_err());
    }
}
