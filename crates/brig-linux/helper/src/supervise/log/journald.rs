//! A log in the host's journal: one datagram a record, in journald's native protocol, with docker's fields.
//!
//! A journal that doesn't read holds the container up, or, with `mode=non-blocking`, some records wait for it and those
//! that come when there is no more room are dropped, as docker does it.

use std::collections::VecDeque;
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
    /// Those that wait for a journal which is slow, where the container doesn't.
    waiting: Option<Waiting>,
}

/// Datagrams that wait.
#[derive(Debug)]
struct Waiting {
    datagrams: VecDeque<Box<[u8]>>,
    /// What they take.
    bytes: u64,
    /// What they may take.
    max: u64,
    /// Some were dropped, and nobody was told yet.
    dropped: bool,
}

/// What a datagram that waits takes beside its own bytes.
const OVERHEAD: u64 = 32;

impl Waiting {
    /// Keeps a datagram, if there is room or nothing else.
    fn push(&mut self, datagram: &[u8]) {
        let bytes = datagram.len() as u64 + OVERHEAD;
        if self.bytes + bytes > self.max && !self.datagrams.is_empty() {
            self.dropped = true;
            return;
        }
        self.bytes += bytes;
        self.datagrams.push_back(datagram.into());
    }

    fn pop(&mut self) {
        if let Some(datagram) = self.datagrams.pop_front() {
            self.bytes -= datagram.len() as u64 + OVERHEAD;
        }
    }
}

impl Journald {
    /// Connects to the host's journal, for records of the container with this tag and these fields of its own. With a
    /// `max_buffer` it never waits.
    pub(super) fn connect(
        plan: &SupervisorPlan,
        tag: Option<&str>,
        fields: &[(String, String)],
        max_buffer: Option<u64>,
    ) -> io::Result<Self> {
        Self::connect_to(Path::new(SOCKET), plan, tag, fields, max_buffer)
    }

    fn connect_to(
        path: &Path,
        plan: &SupervisorPlan,
        tag: Option<&str>,
        fields: &[(String, String)],
        max_buffer: Option<u64>,
    ) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.set_nonblocking(max_buffer.is_some())?;
        let waiting =
            max_buffer.map(|max| Waiting { datagrams: VecDeque::new(), bytes: 0, max, dropped: false });
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
        Ok(Self { socket, common, datagram: Vec::new(), waiting })
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
        let Some(waiting) = &mut self.waiting else { return self.socket.send(&self.datagram).map(drop) };
        // Their order stays.
        if !waiting.datagrams.is_empty() {
            waiting.push(&self.datagram);
            return Ok(());
        }
        match self.socket.send(&self.datagram) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => waiting.push(&self.datagram),
            sent => return sent.map(drop),
        }
        Ok(())
    }

    /// The socket, while something waits for room in it.
    pub(super) fn to_poll(&self) -> Option<&UnixDatagram> {
        self.waiting.as_ref().filter(|waiting| !waiting.datagrams.is_empty()).map(|_| &self.socket)
    }

    /// Sends what waits, as far as the journal reads.
    pub(super) fn send_waiting(&mut self) -> io::Result<()> {
        let Some(waiting) = &mut self.waiting else { return Ok(()) };
        while let Some(datagram) = waiting.datagrams.front() {
            match self.socket.send(datagram) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => {
                    // One that can't be sent is lost, as without waiting.
                    waiting.pop();
                    sent?;
                }
            }
        }
        // The memory of a busy moment goes back.
        waiting.datagrams = VecDeque::new();
        Ok(())
    }

    /// Whether records were dropped since this was asked.
    pub(super) fn has_dropped(&mut self) -> bool {
        self.waiting.as_mut().is_some_and(|waiting| std::mem::take(&mut waiting.dropped))
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
        let mut journal = Journald::connect_to(&path, &plan, Some("a tag"), &own, None).unwrap();
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

    #[test]
    fn a_slow_journal_gets_what_fits_in_the_buffer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let server = UnixDatagram::bind(&path).unwrap();
        server.set_nonblocking(true).unwrap();
        let plan = SupervisorPlan::default();
        let mut journal = Journald::connect_to(&path, &plan, None, &[], Some(10_000)).unwrap();
        let start = std::time::Instant::now();
        for number in 0..5000 {
            journal.record(Stream::Out, format!("{number}\n").as_bytes()).unwrap();
        }
        assert!(start.elapsed() < PATIENCE);
        let waiting = journal.waiting.as_ref().unwrap();
        assert!((9000..=10_000).contains(&waiting.bytes), "{}", waiting.bytes);
        assert!(journal.to_poll().is_some() && journal.has_dropped() && !journal.has_dropped());
        // The first ones arrive, in order and without gaps.
        let mut buffer = vec![0; 65536];
        let mut received = 0;
        while journal.to_poll().is_some() {
            while let Ok(length) = server.recv(&mut buffer) {
                assert_eq!(fields(&buffer[..length])["MESSAGE"], received.to_string().into_bytes());
                received += 1;
            }
            journal.send_waiting().unwrap();
        }
        assert!((20..5000).contains(&received), "{received}");
        assert_eq!(journal.waiting.as_ref().unwrap().bytes, 0);
        journal.record(Stream::Out, b"again\n").unwrap();
    }
}
