//! Network devices of the supervisor's network namespace go into the container's, with their addresses.

use std::fs::File;
use std::os::fd::AsFd;

use rustix::io::Errno;

use super::failure::{Failure, On};
use super::netlink::Route;
use super::sys;

const NEWNET: u32 = libc::CLONE_NEWNET.cast_unsigned();

/// Gives devices to the process of this pid, which is in its network namespace and waits.
pub(super) fn give(devices: &[(String, String)], pid: i32) -> Result<(), Failure> {
    let path = format!("/proc/{pid}/ns/net");
    let theirs = File::open(&path).on(&path)?;
    let mut here = Route::open()?;
    let mut there = open_in(&theirs)?;
    for (name, new) in devices {
        give_one(&mut here, &mut there, &theirs, name, new).on(name)?;
    }
    Ok(())
}

/// A connection to another network namespace: this process steps into it for a moment.
fn open_in(namespace: &File) -> Result<Route, Failure> {
    let path = "/proc/self/ns/net";
    let own = File::open(path).on(path)?;
    sys::setns(namespace.as_fd(), NEWNET)?;
    let route = Route::open();
    sys::setns(own.as_fd(), NEWNET)?;
    Ok(route?)
}

/// The kernel takes a device down and its addresses away when it moves it.
fn give_one(here: &mut Route, there: &mut Route, to: &File, name: &str, new: &str) -> Result<(), Failure> {
    let index = here.index(name)?;
    // The kernel would move it first, and then find that the name is taken.
    if there.index(new).is_ok() {
        return Err(Errno::EXIST.into());
    }
    let addresses = here.addresses(index)?;
    let before = there.indices()?;
    here.send_away(index, to.as_fd(), new)?;
    // With `%d` in it, it isn't known what it is called now.
    let moved = if new.contains('%') {
        there.indices()?.into_iter().find(|index| !before.contains(index)).ok_or(Errno::NODEV)?
    } else {
        there.index(new)?
    };
    for address in &addresses {
        there.add(moved, address)?;
    }
    Ok(there.set_up(moved)?)
}
