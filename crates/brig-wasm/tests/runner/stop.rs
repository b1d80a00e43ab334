//! How a guest is asked to stop, and what becomes of it.

use std::time::Duration;

use crate::support::{Compiled, Ended, Started, forms, wat};

fn started(guest: &Compiled, args: &[&str]) -> Started {
    let mut started = guest.run(args).keep_stdin_open().start();
    assert!(["waiting", "tick", "looping"].contains(&started.line().as_str()));
    started
}

fn asked(guest: &Compiled, args: &[&str]) -> Ended {
    let started = started(guest, args);
    started.signal("TERM");
    started.end()
}

#[test]
fn a_sleep_is_cancelled_and_the_guest_has_its_time() {
    for guest in forms() {
        let ended = asked(guest, &["leave"]);
        assert_eq!((ended.code, ended.stdout.as_str()), (0, "leaving\n"), "{ended:?}");
    }
}

#[test]
fn input_ends_however_it_is_waited_for() {
    for guest in forms() {
        for args in [&["serve"][..], &["serve", "poll"]] {
            let ended = asked(guest, args);
            assert_eq!((ended.code, ended.stdout.as_str()), (0, "leaving\n"), "{ended:?}");
        }
    }
}

#[test]
fn a_guest_that_goes_back_to_sleep_is_ended() {
    for guest in forms() {
        let ended = asked(guest, &["tick"]);
        assert_eq!((ended.code, ended.report.unwrap().code), (143, 143));
    }
}

#[test]
fn a_guest_that_computes_is_left_to_it_until_another_signal() {
    for guest in forms() {
        let mut started = started(guest, &["loop"]);
        started.signal("TERM");
        std::thread::sleep(Duration::from_millis(100));
        assert!(started.is_running());
        started.signal("INT");
        assert_eq!(started.end().code, 130);
    }
}

#[test]
fn a_wait_that_nothing_cancels_ends_with_the_request() {
    // A clock's time, absolute: the end of the world.
    let guest = wat(r#"(module
          (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (data (i32.const 16) "\01\00\00\00")
          (data (i32.const 24) "\ff\ff\ff\ff\ff\ff\ff\0f")
          (data (i32.const 40) "\01")
          (data (i32.const 200) "\d0\00\00\00\08\00\00\00waiting\0a")
          (func (export "_start")
            (drop (call $write (i32.const 1) (i32.const 200) (i32.const 1) (i32.const 300)))
            (drop (call $poll (i32.const 0) (i32.const 400) (i32.const 1) (i32.const 300)))
            unreachable))"#);
    assert_eq!(asked(&guest, &[]).code, 143);
}

#[test]
fn wrong_pointers_are_a_trap() {
    for pointers in ["-4 400 1 300", "0 -4 1 300", "0 400 1 -2", "65500 400 1 300"] {
        let pointers: String = pointers.split(' ').map(|at| format!("(i32.const {at})")).collect();
        let guest = wat(&format!(
            r#"(module
              (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
              (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
              (memory (export "memory") 1)
              (data (i32.const 24) "\01")
              (func (export "_start") (call $exit (call $poll {pointers}))))"#,
        ));
        assert_eq!(guest.run(&[]).go().code, 134, "{pointers}");
    }
}
