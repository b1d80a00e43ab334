//! The system calls that no safe crate at hand offers. All the unsafe code of the helper.
//!
//! The helper has one thread, from its start to its end. Two proofs below stand on that: a copy of this process made
//! by `clone3` has no lock that another thread holds, and nobody else uses a descriptor number meanwhile.
#![allow(unsafe_code, reason = "system calls; each block has its proof")]

mod signals;

use std::ffi::{CStr, CString, c_int, c_long, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use brig_runtime::plan::{CpuScheduling, MemoryPolicy};

pub(crate) use self::signals::{end_on_signals, reset_signals};

/// The outcome of [`clone3`].
#[derive(Debug)]
pub(crate) enum Cloned {
    /// This is the copy.
    Child,
    /// This is the original.
    Parent {
        /// The copy's pid.
        pid: i32,
        /// The copy.
        pidfd: OwnedFd,
    },
}

fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn check_int(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// `struct sched_attr` in its first size (`linux/sched/types.h`), without what clamps utilisation.
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// How this process is scheduled.
pub(crate) fn set_scheduler(scheduling: &CpuScheduling) -> io::Result<()> {
    let CpuScheduling { policy, flags, nice, priority, runtime, deadline, period } = *scheduling;
    /// `SCHED_ATTR_SIZE_VER0`
    const SIZE: u32 = 48;
    const { assert!(size_of::<SchedAttr>() == SIZE as usize) };
    let attr = SchedAttr { size: SIZE, policy, flags, nice, priority, runtime, deadline, period };
    // SAFETY: the kernel reads `size` bytes of `attr`, which has as many and outlives the call.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) }).map(drop)
}

/// The I/O priority of this process.
pub(crate) fn set_io_priority(priority: u16) -> io::Result<()> {
    /// `linux/ioprio.h`
    const IOPRIO_WHO_PROCESS: c_int = 1;
    // SAFETY: the call takes integers only.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, c_int::from(priority)) })
        .map(drop)
}

/// The memory policy of this process, which goes with it through `execve`.
pub(crate) fn set_memory_policy(policy: &MemoryPolicy) -> io::Result<()> {
    // The kernel takes one less than it is told.
    let bits = if policy.nodes.is_empty() { 0 } else { policy.nodes.len() * 64 + 1 };
    let nodes = if policy.nodes.is_empty() { ptr::null() } else { policy.nodes.as_ptr() };
    // SAFETY: the kernel reads as many bits as it is told, in whole words: those of `nodes`, which outlive the call.
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, policy.mode, nodes, bits) }).map(drop)
}

/// The personality of this process.
pub(crate) fn personality(persona: u32) -> io::Result<()> {
    // SAFETY: the call takes an integer only.
    check_int(unsafe { libc::personality(persona.into()) }).map(drop)
}

/// `linux/sched.h`. The C library's crate has it as a number of 32 bits, in which it is zero.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A copy of this process in new namespaces (`CLONE_NEW*` in `flags`), in `cgroup` when given (v2 only).
pub(crate) fn clone3(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    let mut pidfd: c_int = -1;
    // SAFETY: clone_args is a struct of integers, for which all zeros are a value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | libc::CLONE_PIDFD as u64;
    args.pidfd = ptr::from_mut(&mut pidfd) as u64;
    // CLONE_PARENT takes the signal of this process.
    args.exit_signal = if flags & libc::CLONE_PARENT as u64 == 0 { libc::SIGCHLD as u64 } else { 0 };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().unsigned_abs());
    }
    // SAFETY: without CLONE_VM the copy has its own memory, and without a stack in `args` it goes on here, as after
    // fork. This process has one thread (module docs), so the copy's locks and allocator are in a whole state.
    // `args` and `pidfd` outlive the call.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of_val(&args)) })?;
    if pid == 0 {
        return Ok(Cloned::Child);
    }
    // SAFETY: the kernel has just put a new descriptor there, which nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let pid = i32::try_from(pid).map_err(io::Error::other)?;
    Ok(Cloned::Parent { pid, pidfd })
}

/// Ends this process at once: no destructors, no flushing of what belongs to the original.
pub(crate) fn exit_now(code: c_int) -> ! {
    // SAFETY: _exit takes any code and doesn't return.
    unsafe { libc::_exit(code) }
}

/// Moves this process into the namespaces that `fd` stands for.
pub(crate) fn setns(fd: BorrowedFd<'_>, flags: u32) -> io::Result<()> {
    let flags = c_int::try_from(flags).map_err(io::Error::other)?;
    // SAFETY: setns touches no memory of this process.
    check_int(unsafe { libc::setns(fd.as_raw_fd(), flags) }).map(drop)
}

/// Leaves namespaces for new ones. [`rustix::thread::unshare`] with the few flags used here is as good; this one takes
/// the plan's bits.
pub(crate) fn unshare(flags: u32) -> io::Result<()> {
    let flags = c_int::try_from(flags).map_err(io::Error::other)?;
    // SAFETY: none of the namespace flags touches memory, and there are no threads to be unshared from.
    check_int(unsafe { libc::unshare(flags) }).map(drop)
}

/// Sets and clears attributes of the mount that `mount` is the root of.
pub(crate) fn mount_setattr(
    mount: BorrowedFd<'_>,
    set: u64,
    clear: u64,
    propagation: u64,
    recursive: bool,
) -> io::Result<()> {
    let attr = libc::mount_attr { attr_set: set, attr_clr: clear, propagation, userns_fd: 0 };
    change_mount(mount, &attr, recursive)
}

/// Gives the files of a mount that is mounted nowhere the owners that a user namespace maps theirs to.
pub(crate) fn map_ids_of_mount(
    mount: BorrowedFd<'_>,
    namespace: BorrowedFd<'_>,
    recursive: bool,
) -> io::Result<()> {
    let userns_fd = u64::from(namespace.as_raw_fd().unsigned_abs());
    let attr_set = libc::MOUNT_ATTR_IDMAP;
    change_mount(mount, &libc::mount_attr { attr_set, attr_clr: 0, propagation: 0, userns_fd }, recursive)
}

fn change_mount(mount: BorrowedFd<'_>, attr: &libc::mount_attr, recursive: bool) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string, and `attr` is read with the size it has.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            ptr::from_ref(attr),
            size_of_val(attr),
        )
    };
    check(result).map(drop)
}

/// Makes `fd` the descriptor `number`, kept by programs that are executed or not. What was at `number` is replaced; the
/// caller is the child, whose own descriptors are all above (see [`lift`]).
pub(crate) fn place(fd: BorrowedFd<'_>, number: RawFd, close_on_exec: bool) -> io::Result<OwnedFd> {
    let flags = if close_on_exec { libc::O_CLOEXEC } else { 0 };
    // SAFETY: dup3 touches no memory. `number` is a descriptor now; whoever owned it in the supervisor never runs in
    // this copy of it.
    unsafe {
        check_int(libc::dup3(fd.as_raw_fd(), number, flags))?;
        Ok(OwnedFd::from_raw_fd(number))
    }
}

/// A descriptor of the same file with a number from `floor` up, out of the way of [`place`].
pub(crate) fn lift(fd: BorrowedFd<'_>, floor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl with F_DUPFD_CLOEXEC touches no memory, and returns a new descriptor that nobody owns.
    unsafe {
        let new = check_int(libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, floor))?;
        Ok(OwnedFd::from_raw_fd(new))
    }
}

/// A standard stream that [`place`] has put there.
pub(crate) fn standard(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: 0, 1 and 2 are never closed.
    unsafe { BorrowedFd::borrow_raw(number.clamp(0, 2)) }
}

/// Closes the descriptors from `first` to `last`, whoever owns them: the caller is the child, and the owners are those
/// of the supervisor, which never run in this copy of it.
pub(crate) fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: it touches no memory; the owners as above.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// Executes the program at a path, with execve(2): seccomp filters that know no other way let it pass. Returns only the
/// error.
pub(crate) fn execute(program: &CStr, args: &[CString], env: &[CString]) -> io::Error {
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: both arrays end with a null and point to C strings that outlive the call; when it succeeds, there is no
    // more of this program.
    unsafe { libc::execve(program.as_ptr(), args.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Executes the program that a descriptor stands for, whether or not a path leads to it. Returns only the error.
pub(crate) fn execute_descriptor(program: BorrowedFd<'_>, args: &[CString], env: &[CString]) -> io::Error {
    let (args, env) = (pointers(args), pointers(env));
    let (fd, flags) = (program.as_raw_fd(), libc::AT_EMPTY_PATH);
    // SAFETY: as for execve above; the empty path is a C string.
    unsafe {
        libc::syscall(libc::SYS_execveat, fd, c"".as_ptr(), args.as_ptr(), env.as_ptr(), flags);
    }
    io::Error::last_os_error()
}

/// What execve(2) takes: pointers with a null behind them, valid as long as the strings are.
fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

/// Loads a seccomp filter: `struct sock_filter`s in this machine's byte order. Returns its listener, if the flags ask for
/// one.
pub(crate) fn load_seccomp(filter: &[u8], flags: u32) -> io::Result<Option<OwnedFd>> {
    /// `SECCOMP_FILTER_FLAG_NEW_LISTENER` of `linux/seccomp.h`.
    const NEW_LISTENER: u32 = 1 << 3;
    let instructions: Vec<libc::sock_filter> = filter
        .chunks_exact(8)
        .map(|c| libc::sock_filter {
            code: u16::from_ne_bytes([c[0], c[1]]),
            jt: c[2],
            jf: c[3],
            k: u32::from_ne_bytes([c[4], c[5], c[6], c[7]]),
        })
        .collect();
    let length =
        u16::try_from(instructions.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let program = libc::sock_fprog { len: length, filter: instructions.as_ptr().cast_mut() };
    // SAFETY: the kernel reads `len` instructions from the vector, which outlives the call, and writes nothing.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    let fd = check(result)?;
    if flags & NEW_LISTENER == 0 {
        return Ok(None);
    }
    // SAFETY: with this flag the call returns a new descriptor, which nobody else owns.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(RawFd::try_from(fd).map_err(io::Error::other)?) }))
}

/// Loads a program that is asked about the use of devices, and attaches it to a cgroup of v2, beside others that are
/// there. It goes with the cgroup.
pub(crate) fn attach_device_program(cgroup: BorrowedFd<'_>, program: &[u8]) -> io::Result<()> {
    /// The first members of `union bpf_attr` for `BPF_PROG_LOAD`.
    #[repr(C)]
    struct Load {
        kind: u32,
        length: u32,
        instructions: u64,
        license: u64,
    }
    /// And for `BPF_PROG_ATTACH`.
    #[repr(C)]
    struct Attach {
        cgroup: c_int,
        program: c_int,
        kind: u32,
        flags: u32,
    }
    // `linux/bpf.h`: commands, kinds, flags.
    const LOAD: c_int = 5;
    const ATTACH: c_int = 8;
    const PROGRAM_OF_DEVICES: u32 = 15;
    const USE_OF_DEVICES: u32 = 6;
    const ALLOW_MULTI: u32 = 2;
    let length =
        u32::try_from(program.len() / 8).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let (instructions, license) = (program.as_ptr() as u64, c"Apache".as_ptr() as u64);
    let load = Load { kind: PROGRAM_OF_DEVICES, length, instructions, license };
    // SAFETY: the kernel reads as much of the union as it is told, `length` instructions of eight bytes from the slice,
    // and the licence, a C string; all of them outlive the call. It returns a new descriptor that nobody owns.
    let loaded = unsafe {
        let fd = check(libc::syscall(libc::SYS_bpf, LOAD, &raw const load, size_of_val(&load)))?;
        OwnedFd::from_raw_fd(RawFd::try_from(fd).map_err(io::Error::other)?)
    };
    let attach = Attach {
        cgroup: cgroup.as_raw_fd(),
        program: loaded.as_raw_fd(),
        kind: USE_OF_DEVICES,
        flags: ALLOW_MULTI,
    };
    // SAFETY: the kernel reads as much of the union as it is told, and no addresses are in it.
    check(unsafe { libc::syscall(libc::SYS_bpf, ATTACH, &raw const attach, size_of_val(&attach)) }).map(drop)
}

/// Brings the loopback interface of this network namespace up.
pub(crate) fn loopback_up(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: ifreq is a struct of integers and a union of such, for which all zeros are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l'.cast_signed();
    request.ifr_name[1] = b'o'.cast_signed();
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP).map_err(io::Error::other)?;
    // SAFETY: SIOCSIFFLAGS reads the name and the flags of an ifreq.
    check_int(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }).map(drop)
}

/// The mount namespace of a process (Linux 6.11).
pub(crate) fn mount_namespace_of(pidfd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // `_IO(PIDFS_IOCTL_MAGIC, 3)` of linux/pidfd.h.
    const PIDFD_GET_MNT_NAMESPACE: libc::Ioctl = 0xff03;
    // SAFETY: the request takes no argument and returns a new descriptor that nobody owns.
    unsafe {
        let fd = check_int(libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_MNT_NAMESPACE, 0))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// What a landlock ruleset handles: `struct landlock_ruleset_attr` of Linux 6.12.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LandlockRuleset {
    /// Rights to files.
    pub(crate) files: u64,
    /// Rights to ports.
    pub(crate) network: u64,
    /// What is kept inside: abstract sockets, signals.
    pub(crate) scoped: u64,
}

/// The version of landlock's interface; an error when there is no landlock.
pub(crate) fn landlock_version() -> io::Result<c_long> {
    const VERSION: c_int = 1;
    // SAFETY: with this flag the kernel reads nothing.
    check(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<c_void>(), 0_usize, VERSION)
    })
}

/// A new ruleset. `size` is that of the struct in the interface's version.
pub(crate) fn landlock_create(ruleset: LandlockRuleset, size: usize) -> io::Result<OwnedFd> {
    let size = size.min(size_of_val(&ruleset));
    // SAFETY: the kernel reads `size` bytes, which the struct has, and returns a new descriptor that nobody owns.
    unsafe {
        let fd = check(libc::syscall(libc::SYS_landlock_create_ruleset, &raw const ruleset, size, 0))?;
        Ok(OwnedFd::from_raw_fd(RawFd::try_from(fd).map_err(io::Error::other)?))
    }
}

/// Grants rights to what is at or below `path`.
pub(crate) fn landlock_grant(ruleset: BorrowedFd<'_>, path: BorrowedFd<'_>, rights: u64) -> io::Result<()> {
    const PATH_BENEATH: c_int = 1;
    #[repr(C, packed)]
    struct Rule {
        rights: u64,
        parent: i32,
    }
    let rule = Rule { rights, parent: path.as_raw_fd() };
    // SAFETY: the kernel reads a struct landlock_path_beneath_attr, which Rule is.
    let result = unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), PATH_BENEATH, &raw const rule, 0)
    };
    check(result).map(drop)
}

/// Puts this process into the domain.
pub(crate) fn landlock_restrict(ruleset: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: it touches no memory.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) }).map(drop)
}

/// Sets the capability sets of this process, one bit a capability.
pub(crate) fn set_capabilities(effective: u64, permitted: u64, inheritable: u64) -> io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    #[repr(C)]
    struct Header {
        version: u32,
        pid: c_int,
    }
    #[repr(C)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    let half = |shift: u32| -> Data {
        // Each mask leaves 32 bits.
        let part = |set: u64| u32::try_from((set >> shift) & u64::from(u32::MAX)).unwrap_or(0);
        Data { effective: part(effective), permitted: part(permitted), inheritable: part(inheritable) }
    };
    let header = Header { version: VERSION_3, pid: 0 };
    let data = [half(0), half(32)];
    // SAFETY: version 3 of the interface reads a header and two data structs.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) }).map(drop)
}

/// `prctl` with numbers only.
pub(crate) fn prctl(option: c_int, arg2: u64, arg3: u64) -> io::Result<()> {
    // SAFETY: the callers use options that take numbers, not addresses.
    check_int(unsafe { libc::prctl(option, arg2, arg3, 0_u64, 0_u64) }).map(drop)
}

/// Sets real, effective and saved ids of this process, and its supplementary groups when it has any.
pub(crate) fn become_user(uid: u32, gid: u32, groups: Option<&[u32]>) -> io::Result<()> {
    if let Some(groups) = groups {
        // SAFETY: the kernel reads as many groups as the slice has. The raw call concerns this thread, the only one.
        check(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
    }
    // SAFETY: numbers only; the raw calls concern this thread, the only one.
    unsafe {
        check(libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
        check(libc::syscall(libc::SYS_setresuid, uid, uid, uid)).map(drop)
    }
}

/// Sets a resource limit by its number.
pub(crate) fn set_rlimit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the kernel reads one rlimit64 and writes nothing, for the last argument is null.
    let result = unsafe {
        libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, ptr::null_mut::<libc::rlimit64>())
    };
    check(result).map(drop)
}

/// Makes a terminal the controlling one of this session.
pub(crate) fn control_terminal(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the request takes a number.
    check_int(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }).map(drop)
}

/// The slave of a pseudo-terminal, without a name in any file system.
pub(crate) fn terminal_of(master: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let unlocked: c_int = 0;
    // SAFETY: TIOCSPTLCK reads an int; TIOCGPTPEER takes flags and returns a new descriptor that nobody owns.
    unsafe {
        check_int(libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked))?;
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
        let fd = check_int(libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Sets the size of a terminal.
pub(crate) fn set_size(terminal: impl AsFd, rows: u16, cols: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads a winsize.
    check_int(unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) })
        .map(drop)
}
