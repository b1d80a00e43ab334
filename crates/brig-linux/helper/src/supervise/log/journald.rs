//! A log in the host's journal: one datagram a record, in journald's native protocol, with docker's fields.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use brig_runtime::plan::SupervisorPlan;

use super::Stream;

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// How long a journal that doesn't read may hold up the supervisor, for each record.
const PATIENCE: Duration = Duration::from_secs(1);
/// syslog's words for what comes from standard output and standard error.
const PRIORITIES: [&str; 2] = ["6", "3"];

/// The connection.
#[derive(Debug)]
pub(super) struct Journald {
    socket: UnixDatagram,
    /// The fields that every record has.
    common: Vec<u8>,
    datagram: Vec<u8>,
}

impl Journald {
    /// Connects to the host's journal, for records of the container with this tag and these fields of its own.
    pub(super) fn connect(
        plan: &SupervisorPlan,
        tag: Option<&str>,
        fields: &[(String, String)],
    ) -> io::Result<Self> {
        Self::connect_to(Path::new(SOCKET), plan, tag, fields)
    }

    fn connect_to(
        path: &Path,
        plan: &SupervisorPlan,
        tag: Option<&str>,
        fields: &[(String, String)],
    ) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let short = plan.id.get(..12).unwrap_or(&plan.id);
        let tag = tag.unwrap_or(short);
        let mut common = Vec::new();
        for (name, value) in [
            ("CONTAINER_ID", short),
            ("CONTAINER_ID_FULL", plan.id.as_str()),
            ("CONTAINER_NAME", plan.name.as_str()),
            ("CONTAINER_TAG", tag),
            ("IMAGE_NAME", plan.image.as_str()),
            ("SYSLOG_IDENTIFIER", tag),
        ] {
            field(&mut common, name, value.as_bytes());
        }
        fields.iter().for_each(|(name, value)| field(&mut common, name, value.as_bytes()));
        Ok(Self { socket, common, datagram: Vec::new() })
    }

    /// Sends a record; a line's feed isn't part of its message.
    pub(super) fn record(&mut self, stream: Stream, text: &[u8]) -> io::Result<()> {
        let message = text.strip_suffix(b"\n");
        self.datagram.clear();
        self.datagram.extend_from_slice(&self.common);
        field(&mut self.datagram, "PRIORITY", PRIORITIES[stream as usize].as_bytes());
        if message.is_none() {
            field(&mut self.datagram, "CONTAINER_PARTIAL_MESSAGE", b"true");
        }
        field(&mut self.datagram, "MESSAGE", message.unwrap_or(text));
        self.socket.send(&self.datagram).map(drop)
    }
}

/// A field; with its length, so that it may hold anything.
fn field(into: &mut Vec<u8>, name: &str, value: &[u8]) {
    into.extend_from_slice(name.as_bytes());
    into.push(b'\n');
    into.extend_from_slice(&(value.len() as u64).to_le_bytes());
    into.extend_from_slice(value);
    into.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn fields(mut datagram: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut fields = BTreeMap::new();
        while let Some(end) = datagram.iter().position(|&byte| byte == b'\n') {
            let name = String::from_utf8(datagram[..end].to_vec()).unwrap();
            let (length, rest) = datagram[end + 1..].split_first_chunk::<8>().unwrap();
            let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
            fields.insert(name, rest[..length].to_vec());
            datagram = &rest[length + 1..];
        }
        fields
    }

    #[test]
    fn records_are_datagrams_with_dockers_fields() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let server = UnixDatagram::bind(&path).unwrap();
        let plan =
            SupervisorPlan { id: "0123456789abcdef".into(), name: "web".into(), ..SupervisorPlan::default() };
        let own = [("MY_LABEL".to_owned(), "x".to_owned())];
        let mut journal = Journald::connect_to(&path, &plan, Some("a tag"), &own).unwrap();
        let receive = |journal: &mut Journald, stream, text: &[u8]| {
            journal.record(stream, text).unwrap();
            let mut buffer = vec![0; 65536];
            let length = server.recv(&mut buffer).unwrap();
            fields(&buffer[..length])
        };
        let line = receive(&mut journal, Stream::Out, b"a=b\xff\n");
        assert_eq!((&line["MESSAGE"][..], &line["PRIORITY"][..]), (&b"a=b\xff"[..], &b"6"[..]));
        assert_eq!(
            (&line["CONTAINER_ID"][..], &line["CONTAINER_NAME"][..]),
            (&b"0123456789ab"[..], &b"web"[..])
        );
        assert_eq!(
            (&line["CONTAINER_TAG"][..], &line["SYSLOG_IDENTIFIER"][..], &line["MY_LABEL"][..]),
            (&b"a tag"[..], &b"a tag"[..], &b"x"[..])
        );
        assert!(!line.contains_key("CONTAINER_PARTIAL_MESSAGE"));
        let piece = receive(&mut journal, Stream::Err, b"piece");
        assert_eq!((&piece["MESSAGE"][..], &piece["PRIORITY"][..]), (&b"piece"[..], &b"3"[..]));
        assert_eq!(piece["CONTAINER_PARTIAL_MESSAGE"], b"true");
        drop(server);
        assert!(journal.record(Stream::Out, b"nobody\n").is_err());
    }
}
