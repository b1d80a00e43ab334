//! Deaths at the wrong time.

use brig_runtime::{State, lock};

use crate::container::{Container, eventually};

#[test]
fn the_container_outlives_its_creator() {
    let container = Container::new("sleep 0.3; echo still here; exit 8").attached().interactive();
    let mut running = container.start();
    // What the kernel does for a client that is killed.
    drop(std::mem::replace(&mut running.first, container.connect()));
    assert_eq!(running.first.status().unwrap().state, State::Running);
    assert_eq!(running.first.wait().unwrap().code, 8);
    assert_eq!(container.log("stdout"), "still here\n");
}

#[test]
fn a_creator_that_dies_while_it_holds_the_payload_up_frees_it() {
    let container = Container::new("head -c 5000000 /dev/zero; exit 8").attached();
    let mut running = container.start();
    std::thread::sleep(std::time::Duration::from_millis(100));
    drop(std::mem::replace(&mut running.first, container.connect()));
    assert_eq!(running.first.wait().unwrap().code, 8);
}

#[test]
fn a_creator_that_is_gone_before_the_birth_changes_nothing() {
    let container = Container::new("exit 8");
    let mut running = container.spawn();
    let (nobody, _) = std::os::unix::net::UnixStream::pair().unwrap();
    running.first = brig_runtime::client::Supervisor::from_birth(nobody);
    assert!(running.helper.wait().unwrap().success());
    assert_eq!(container.state().exit.unwrap().code, 8);
}

#[test]
fn the_payload_dies_with_its_supervisor() {
    let container = Container::new("exec sleep 60");
    let mut running = container.start();
    let payload = container.state().payload.unwrap();
    running.helper.kill().unwrap();
    running.helper.wait().unwrap();
    eventually("the payload is gone", || !payload.exists());
    assert_eq!(container.state().state, State::Running);
    assert!(!lock::is_held(&container.paths.lock()).unwrap());
}

#[test]
fn a_container_whose_supervisor_was_killed_starts_again() {
    let container = Container::new("exec sleep 60");
    let mut running = container.start();
    running.helper.kill().unwrap();
    running.helper.wait().unwrap();
    // The socket of the dead is still there.
    assert!(container.paths.socket().exists());
    let again = container.start();
    assert_eq!(container.connect().status().unwrap().state, State::Running);
    drop(again);
}
