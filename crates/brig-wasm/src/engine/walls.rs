//! The walls that the runner puts up around itself, before bytes of strangers are looked at.
//!
//! - [`no_more_programs`]: around a process that runs a guest. The helper has walled it in already, but had to leave open
//!   what it needed to execute the runner.
//! - [`around_compiler`]: around a process that compiles. It has its input in memory and its output open, so that
//!   nothing is left but to compute: no files, no sockets, no other processes.
//!
//! They hold for the calling thread and for those that it makes later: call them before there are others.

use std::io;

use libc::{c_long, sock_filter};

use super::sys::{self, Ruleset};

/// Which wall couldn't be put up.
#[derive(Debug, thiserror::Error)]
#[error("can't {wall}")]
#[non_exhaustive]
pub struct WallError {
    /// What was tried, as a verb phrase.
    pub wall: &'static str,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

/// What a compiler calls that has everything it needs: memory, also executable (wasmtime maps what it has compiled), its
/// open descriptors, threads, locks, signals of its own, time and random numbers.
#[rustfmt::skip]
const COMPILING: &[c_long] = &[
    libc::SYS_brk, libc::SYS_madvise, libc::SYS_membarrier, libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_close, libc::SYS_lseek, libc::SYS_read, libc::SYS_write, libc::SYS_writev,
    libc::SYS_exit, libc::SYS_exit_group, libc::SYS_futex, libc::SYS_getpid, libc::SYS_gettid, libc::SYS_rseq,
    libc::SYS_sched_getaffinity, libc::SYS_sched_yield, libc::SYS_set_robust_list,
    libc::SYS_restart_syscall, libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_clock_gettime, libc::SYS_clock_nanosleep, libc::SYS_getrandom, libc::SYS_nanosleep,
];

/// What the helper needed to start the runner, and what would only be of use to make such walls once more.
const STARTING: &[c_long] = &[libc::SYS_execve, libc::SYS_execveat, libc::SYS_capset, libc::SYS_seccomp];

/// `AUDIT_ARCH_*` (`linux/audit.h`): the one interface of this program.
#[cfg(target_arch = "x86_64")]
const NATIVE: Option<u32> = Some(0xc000_003e);
#[cfg(target_arch = "aarch64")]
const NATIVE: Option<u32> = Some(0xc000_00b7);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const NATIVE: Option<u32> = None;

// `linux/seccomp.h`: the verdicts, and where a filter finds what it decides on.
const KILL_PROCESS: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;
const ALLOW: u32 = 0x7fff_0000;
const AT_NUMBER: u32 = 0;
const AT_ARCH: u32 = 4;
/// Its lower half.
const AT_FIRST_ARGUMENT: u32 = 16;

// `linux/bpf_common.h`.
const LOAD: u16 = 0x20;
const IF_EQUAL: u16 = 0x15;
const IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Ends this process when it tries to execute a program, or to change its walls.
pub fn no_more_programs() -> Result<(), WallError> {
    sys::forbid_new_privileges().map_err(wall("forbid new privileges"))?;
    load(STARTING, KILL_PROCESS, &[], ALLOW)
}

/// Leaves this process nothing but its memory and its open descriptors. Where the kernel has no landlock the other
/// walls are the same.
pub(crate) fn around_compiler() -> Result<(), WallError> {
    sys::forbid_new_privileges().map_err(wall("forbid new privileges"))?;
    deny_files().map_err(wall("enter a landlock domain"))?;
    sys::drop_capabilities().map_err(wall("drop capabilities"))?;
    // Last, for it allows none of the above.
    load(COMPILING, ALLOW, &threads(), ERRNO | libc::EPERM.unsigned_abs())
}

fn wall(wall: &'static str) -> impl Fn(io::Error) -> WallError {
    move |source| WallError { wall, source }
}

/// A landlock domain without a single grant. Each version of landlock refuses what it doesn't know, so the newest
/// domain that it takes is the one that denies most.
fn deny_files() -> io::Result<()> {
    // How many rights to files a version knows, whether it knows TCP, and whether abstract sockets and signals.
    for (files, tcp, scopes) in [
        (16, true, true),
        (16, true, false),
        (15, true, false),
        (15, false, false),
        (14, false, false),
        (13, false, false),
    ] {
        let ruleset = Ruleset {
            files: (1 << files) - 1,
            tcp: if tcp { 0b11 } else { 0 },
            scoped: if scopes { 0b11 } else { 0 },
        };
        match sys::restrict_by(&ruleset) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::E2BIG)) => {}
            // Not there, or not switched on; `brig doctor` says so.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EOPNOTSUPP)) => {
                return Ok(());
            }
            restricted => return restricted,
        }
    }
    Ok(())
}

/// clone(2) makes threads and no processes; clone3, whose flags a filter can't see, isn't there: C libraries fall back.
fn threads() -> [sock_filter; 6] {
    [
        jump(IF_EQUAL, number(libc::SYS_clone3), 0, 1),
        verdict(ERRNO | libc::ENOSYS.unsigned_abs()),
        jump(IF_EQUAL, number(libc::SYS_clone), 0, 3),
        load_word(AT_FIRST_ARGUMENT),
        jump(IF_ANY_BIT, libc::CLONE_THREAD.unsigned_abs(), 0, 1),
        verdict(ALLOW),
    ]
}

/// Loads a filter with one verdict for the listed calls, then tests of its own, then one verdict for all others.
fn load(listed: &[c_long], for_listed: u32, more: &[sock_filter], for_others: u32) -> Result<(), WallError> {
    let failed = wall("load a seccomp filter");
    let native = NATIVE.ok_or_else(|| failed(io::ErrorKind::Unsupported.into()))?;
    let mut program =
        vec![load_word(AT_ARCH), jump(IF_EQUAL, native, 1, 0), verdict(KILL_PROCESS), load_word(AT_NUMBER)];
    // To the last instruction: over the other tests, the tests of its own and the verdict for others.
    for (rest, call) in (0..listed.len()).rev().zip(listed) {
        let distance = u8::try_from(rest + more.len() + 1)
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        program.push(jump(IF_EQUAL, number(*call), distance, 0));
    }
    program.extend(more);
    program.extend([verdict(for_others), verdict(for_listed)]);
    sys::load_filter(&program).map_err(failed)
}

fn load_word(at: u32) -> sock_filter {
    sock_filter { code: LOAD, jt: 0, jf: 0, k: at }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

fn verdict(k: u32) -> sock_filter {
    sock_filter { code: RETURN, jt: 0, jf: 0, k }
}

/// Numbers of system calls are small.
fn number(call: c_long) -> u32 {
    u32::try_from(call).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::UnixStream;
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use std::thread;

    use super::*;

    /// In a thread of its own, which alone the walls are around.
    fn within<T: Send + 'static>(wall: fn() -> Result<(), WallError>, inside: fn() -> T) -> T {
        thread::spawn(move || {
            wall().unwrap();
            inside()
        })
        .join()
        .unwrap()
    }

    fn is_refused<T>(result: io::Result<T>) -> bool {
        result.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    }

    #[test]
    fn a_compiler_has_no_files() {
        let refused = within(around_compiler, || {
            [
                is_refused(File::open("/proc/self/status")),
                is_refused(File::create("/tmp/brig-walls")),
                is_refused(std::fs::read_dir("/")),
                is_refused(std::fs::metadata("/etc/passwd")),
                is_refused(std::fs::remove_file("/tmp/brig-walls")),
            ]
        });
        assert_eq!(refused, [true; 5]);
    }

    #[test]
    fn a_compiler_has_no_sockets() {
        let refused = within(around_compiler, || {
            [
                is_refused(TcpListener::bind("127.0.0.1:0")),
                is_refused(TcpStream::connect("127.0.0.1:1")),
                is_refused(UdpSocket::bind("127.0.0.1:0")),
                is_refused(UnixStream::connect("/run/nothing")),
                is_refused(UnixStream::pair()),
            ]
        });
        assert_eq!(refused, [true; 5]);
    }

    #[test]
    fn a_compiler_starts_no_programs() {
        // If this one came through, it would end the tests.
        assert!(within(around_compiler, || is_refused::<()>(Err(Command::new("/bin/true").exec()))));
        assert!(within(around_compiler, || is_refused(Command::new("/bin/true").spawn())));
    }

    #[test]
    fn landlock_alone_denies_files() {
        let refused = within(
            || {
                sys::forbid_new_privileges()
                    .and_then(|()| deny_files())
                    .map_err(wall("enter a landlock domain"))
            },
            || [is_refused(File::open("/etc/passwd")), is_refused(std::fs::read_dir("/"))],
        );
        let missing = thread::spawn(|| {
            sys::forbid_new_privileges().unwrap();
            sys::restrict_by(&Ruleset { files: 1, tcp: 0, scoped: 0 }).is_err()
        });
        if missing.join().unwrap() {
            eprintln!("skipped: needs landlock");
            return;
        }
        assert_eq!(refused, [true; 2]);
    }

    #[test]
    fn a_compiler_computes_with_threads_and_open_descriptors() {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let thread = thread::spawn(move || {
            around_compiler().unwrap();
            // Walls hold for later threads as well.
            let inner = thread::spawn(|| is_refused(File::open("/dev/null")));
            writer.write_all(b"compiled").unwrap();
            inner.join().unwrap()
        });
        assert!(thread.join().unwrap());
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "compiled");
    }

    #[test]
    fn a_guest_s_process_keeps_all_but_the_start_of_programs() {
        assert!(within(no_more_programs, || File::open("/dev/null").is_ok() && UnixStream::pair().is_ok()));
    }

    /// Says to this test, started once more, to be the process that executes; which way.
    const TRY: &str = "BRIG_TEST_EXECUTE";

    #[test]
    fn a_guest_s_process_that_executes_a_program_ends() {
        use std::os::unix::process::ExitStatusExt;
        let true_program = File::open("/bin/true").unwrap();
        match std::env::var(TRY).as_deref() {
            Ok("by path") => {
                no_more_programs().unwrap();
                panic!("{}", Command::new("/bin/true").exec());
            }
            Ok("without walls") => panic!("{}", sys::execute(&true_program)),
            Ok(_) => {
                no_more_programs().unwrap();
                panic!("{}", sys::execute(&true_program));
            }
            Err(_) => {}
        }
        let name = "engine::walls::tests::a_guest_s_process_that_executes_a_program_ends";
        let end = |way| {
            Command::new("/proc/self/exe").args(["--exact", name]).env(TRY, way).output().unwrap().status
        };
        assert!(end("without walls").success());
        for way in ["by path", "by descriptor"] {
            assert_eq!(end(way).signal(), Some(libc::SIGSYS), "{way}");
        }
    }
}
