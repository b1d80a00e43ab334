//! As much of rtnetlink(7) as moving a network device takes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// `linux/netlink.h`
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const CREATE_NEW: u16 = 0x400 | 0x200;
/// `linux/rtnetlink.h`
const SET_LINK: u16 = 19;
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
/// `linux/if_link.h`
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
/// `linux/if_addr.h`
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_F_PERMANENT: u32 = 0x80;
const IFF_UP: u32 = 1;
/// `struct nlmsghdr`, `struct ifinfomsg`, `struct ifaddrmsg`
const HEADER: usize = 16;
const LINK: usize = 16;
const ADDRESS: usize = 8;
/// The kernel's messages are as long as a page at most, or as this.
const BUFFER: usize = 32 * 1024;
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to a network namespace: the one that it was made in.
#[derive(Debug)]
pub(super) struct Route {
    socket: OwnedFd,
    sequence: u32,
}

/// An address of a device, as the kernel is told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    family: u8,
    prefix: u8,
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Route {
    pub(super) fn open() -> Result<Self, Errno> {
        // The first of netlink's protocols, NETLINK_ROUTE.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// The number of a device.
    pub(super) fn index(&self, name: &str) -> Result<u32, Errno> {
        rustix::net::netdevice::name_to_index(&self.socket, name)
    }

    /// The numbers of all devices.
    pub(super) fn indices(&mut self) -> Result<Vec<u32>, Errno> {
        let mut found = Vec::new();
        self.dump(GET_LINK, &[0; LINK], NEW_LINK, &mut |body| found.extend(word(body, 4)))?;
        Ok(found)
    }

    /// The addresses of a device that are meant to stay, and mean something elsewhere.
    pub(super) fn addresses(&mut self, index: u32) -> Result<Vec<Address>, Errno> {
        let mut found = Vec::new();
        self.dump(GET_ADDRESS, &[0; ADDRESS], NEW_ADDRESS, &mut |body| found.extend(address(body, index)))?;
        Ok(found)
    }

    /// Moves a device to another network namespace, under another name.
    pub(super) fn send_away(&mut self, index: u32, to: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
        use std::os::fd::AsRawFd;
        let mut body = link(index, 0);
        put(&mut body, IFLA_NET_NS_FD, &to.as_raw_fd().to_ne_bytes());
        put(&mut body, IFLA_IFNAME, &[name.as_bytes(), &[0]].concat());
        self.command(NEW_LINK, 0, &body)
    }

    pub(super) fn add(&mut self, index: u32, address: &Address) -> Result<(), Errno> {
        let mut body = vec![address.family, address.prefix, 0, 0];
        body.extend_from_slice(&index.to_ne_bytes());
        for (kind, value) in &address.attributes {
            put(&mut body, *kind, value);
        }
        self.command(NEW_ADDRESS, CREATE_NEW, &body)
    }

    pub(super) fn set_up(&mut self, index: u32) -> Result<(), Errno> {
        self.command(SET_LINK, 0, &link(index, IFF_UP))
    }

    fn command(&mut self, kind: u16, flags: u16, body: &[u8]) -> Result<(), Errno> {
        self.send(kind, REQUEST | ACK | flags, body)?;
        self.receive(&mut |_, _| {})
    }

    fn dump(
        &mut self,
        kind: u16,
        body: &[u8],
        answer: u16,
        found: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Errno> {
        self.send(kind, REQUEST | DUMP, body)?;
        self.receive(&mut |kind, body| {
            if kind == answer {
                found(body);
            }
        })
    }

    fn send(&mut self, kind: u16, flags: u16, body: &[u8]) -> Result<(), Errno> {
        self.sequence += 1;
        let length = u32::try_from(HEADER + body.len()).map_err(|_| Errno::MSGSIZE)?;
        let mut message = length.to_ne_bytes().to_vec();
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&flags.to_ne_bytes());
        message.extend_from_slice(&self.sequence.to_ne_bytes());
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(body);
        rustix::io::write(&self.socket, &message).map(drop)
    }

    /// Reads answers until the last, or an error.
    fn receive(&self, each: &mut dyn FnMut(u16, &[u8])) -> Result<(), Errno> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = rustix::io::retry_on_intr(|| rustix::io::read(self.socket.as_fd(), &mut buffer))?;
            if let Some(end) = messages(&buffer[..length], self.sequence, each)? {
                return end;
            }
        }
    }
}

/// Goes through the messages of one read. The outer error is of what can't be understood.
fn messages(
    mut bytes: &[u8],
    sequence: u32,
    each: &mut dyn FnMut(u16, &[u8]),
) -> Result<Option<Result<(), Errno>>, Errno> {
    while !bytes.is_empty() {
        let length = word(bytes, 0).and_then(|length| usize::try_from(length).ok());
        let message = length.filter(|length| *length >= HEADER).and_then(|length| bytes.get(..length));
        let message = message.ok_or(Errno::PROTO)?;
        let body = &message[HEADER..];
        let kind = u16::from_ne_bytes([message[4], message[5]]);
        if word(message, 8) == Some(sequence) {
            match kind {
                DONE => return Ok(Some(Ok(()))),
                ERROR => {
                    return match word(body, 0).map(u32::cast_signed) {
                        Some(0) => Ok(Some(Ok(()))),
                        Some(code @ -4095..=-1) => Ok(Some(Err(Errno::from_raw_os_error(-code)))),
                        _ => Err(Errno::PROTO),
                    };
                }
                kind => each(kind, body),
            }
        }
        bytes = bytes.get(aligned(message.len())..).unwrap_or_default();
    }
    Ok(None)
}

/// An address of this device, if it is permanent and of the whole world.
fn address(body: &[u8], index: u32) -> Option<Address> {
    let &[family, prefix, flags, scope, ..] = body else { return None };
    if word(body, 4)? != index || scope != 0 {
        return None;
    }
    let mut flags = u32::from(flags);
    let mut kept = Vec::new();
    for (kind, value) in attributes(body.get(ADDRESS..)?) {
        match kind {
            IFA_FLAGS => flags = word(value, 0)?,
            IFA_ADDRESS | IFA_LOCAL | IFA_BROADCAST => kept.push((kind, value.to_vec())),
            _ => {}
        }
    }
    (flags & IFA_F_PERMANENT != 0).then_some(Address { family, prefix, attributes: kept })
}

fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while let Some(&[a, b, c, d]) = bytes.get(..4) {
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let Some(value) = bytes.get(4..length) else { break };
        found.push((u16::from_ne_bytes([c, d]), value));
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
    }
    found
}

/// `struct ifinfomsg`; `up` are the flags to set.
fn link(index: u32, up: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    for word in [index, up, up] {
        body.extend_from_slice(&word.to_ne_bytes());
    }
    body
}

/// Adds an attribute.
fn put(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    // Names and addresses: nothing here is longer than a few bytes.
    let length = u16::try_from(4 + value.len()).unwrap_or(4);
    body.extend_from_slice(&length.to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(value);
    body.resize(aligned(body.len()), 0);
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(HEADER + body.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 2]);
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(body);
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    #[test]
    fn answers_are_read_to_their_end() {
        let mut seen = Vec::new();
        let mut read = |bytes: &[u8]| messages(bytes, 3, &mut |kind, body| seen.push((kind, body.to_vec())));
        assert_eq!(read(&[message(20, 3, b"abc"), message(20, 2, b"old")].concat()), Ok(None));
        assert_eq!(read(&[message(20, 3, b"de"), message(DONE, 3, &[0; 4])].concat()), Ok(Some(Ok(()))));
        assert_eq!(read(&message(ERROR, 3, &0_i32.to_ne_bytes())), Ok(Some(Ok(()))));
        assert_eq!(read(&message(ERROR, 3, &(-17_i32).to_ne_bytes())), Ok(Some(Err(Errno::EXIST))));
        for bad in [&[1, 2, 3][..], &[0; 16], &[99; 16], &message(ERROR, 3, &[])] {
            assert_eq!(read(bad), Err(Errno::PROTO), "{bad:?}");
        }
        assert_eq!(seen, [(20, b"abc".to_vec()), (20, b"de".to_vec())]);
    }

    #[test]
    fn only_lasting_addresses_of_the_whole_world_are_kept() {
        let made = |flags: u8, scope: u8, more: Option<u32>| {
            let mut body = vec![2, 24, flags, scope, 5, 0, 0, 0];
            body[4..8].copy_from_slice(&5_u32.to_ne_bytes());
            put(&mut body, IFA_LOCAL, &[10, 0, 0, 1]);
            put(&mut body, 3, b"eth0\0");
            if let Some(flags) = more {
                put(&mut body, IFA_FLAGS, &flags.to_ne_bytes());
            }
            body
        };
        let kept = address(&made(0x80, 0, None), 5).unwrap();
        assert_eq!((kept.family, kept.prefix), (2, 24));
        assert_eq!(kept.attributes, [(IFA_LOCAL, vec![10, 0, 0, 1])]);
        assert!(address(&made(0, 0, Some(0x280)), 5).is_some());
        assert_eq!(address(&made(0x80, 0, None), 6), None);
        assert_eq!(address(&made(0x80, 253, None), 5), None);
        assert_eq!(address(&made(0, 0, None), 5), None);
        assert_eq!(address(&[2, 24, 0x80], 5), None);
    }

    #[test]
    fn this_machine_s_loopback_interface_is_found() {
        let mut route = Route::open().unwrap();
        let index = route.index("lo").unwrap();
        assert!(route.indices().unwrap().contains(&index));
        // Its addresses are the host's own.
        assert_eq!(route.addresses(index).unwrap(), []);
        assert!(route.index("no-such-device").is_err());
    }
}
