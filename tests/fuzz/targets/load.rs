//! Archives of `load`, docker's and OCI's, and of `import`.
#![no_main]

use std::cell::RefCell;

use brig_engine::blocking::Engine;
use brig_engine::{EngineOptions, ImportOptions};
use brig_fuzz::sandbox::Sandbox;
use brig_fuzz::{seeds, target, told};

/// After so many archives that were taken the store is made anew.
const FULL: u32 = 50;

struct Place {
    sandbox: Sandbox,
    engine: Engine,
    taken: u32,
}

impl Place {
    fn new() -> Self {
        let sandbox = Sandbox::new("load");
        let options = EngineOptions { root: Some(sandbox.inside()), ..EngineOptions::default() };
        Self { engine: Engine::open(options).expect("an engine"), sandbox, taken: 0 }
    }
}

thread_local! {
    static PLACE: RefCell<Place> = RefCell::new(Place::new());
}

target!(start(), |data| {
    let Some((how, archive)) = data.split_first() else { return };
    PLACE.with_borrow_mut(|place| {
        let path = place.sandbox.input(archive);
        let tag = (how & 2 != 0).then_some("localhost/tag:x");
        let taken = if how & 1 == 0 {
            place.engine.load(Some(&path), tag).map(|names| assert!(!names.is_empty()))
        } else {
            place.engine.import(Some(&path), tag, &ImportOptions::default()).map(|_| ())
        };
        match taken {
            Ok(()) => place.taken += 1,
            Err(error) => drop(told(&error)),
        }
        place.engine.images().expect("what was taken can be listed");
        place.sandbox.check();
        if place.taken >= FULL {
            let fsck = place.engine.fsck(false);
            assert!(fsck.as_ref().is_ok_and(|report| report.problems.is_empty()), "{fsck:?}");
            place.sandbox.clear();
            *place = Place::new();
        }
    });
});

fn start() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for archive in seeds::archives() {
        all.push(seeds::chosen(0, &archive));
        all.push(seeds::chosen(2, &seeds::gzip(&archive)));
        all.push(seeds::chosen(0, &seeds::zstd(&archive)));
    }
    all.extend(seeds::tars().iter().map(|tar| seeds::chosen(1, tar)));
    all.extend(seeds::tars().iter().map(|tar| seeds::chosen(3, &seeds::gzip(tar))));
    all
}
