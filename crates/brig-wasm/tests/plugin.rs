//! Plugins in this process: typed calls, limits, and what happens when they are broken.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests, whose helpers lie outside of test functions"
)]
#![cfg(feature = "engine")]

use std::future::Future;
use std::time::{Duration, Instant};

use brig_wasm::plugin::{Allocation, CallLimits, Grants, Plugin, PluginEngine, PluginError, Value};

const PLUGIN: &str = include_str!("guests/plugin.wat");

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn plugin() -> Plugin {
    PluginEngine::new().unwrap().load(PLUGIN.as_bytes()).unwrap()
}

fn limits(millis: u64, memory: u64) -> CallLimits {
    CallLimits { timeout: Duration::from_millis(millis), memory }
}

#[test]
fn typed_calls() {
    let (plugin, limits) = (plugin(), CallLimits::default());
    block_on(async {
        assert_eq!(plugin.call::<u32>("add", (2_u32, 3_u32), &limits).await.unwrap(), 5);
        assert_eq!(plugin.call::<String>("echo", ("grüße",), &limits).await.unwrap(), "grüße");
        assert_eq!(plugin.call::<Vec<u8>>("bytes", (vec![1_u8, 2, 3],), &limits).await.unwrap(), [1, 2, 3]);
        assert_eq!(plugin.call::<Result<u32, ()>>("half", (8_u32,), &limits).await.unwrap(), Ok(4));
        assert_eq!(plugin.call::<Result<u32, ()>>("half", (7_u32,), &limits).await.unwrap(), Err(()));
        assert_eq!(plugin.call::<u32>("test:math/ops#twice", (21_u32,), &limits).await.unwrap(), 42);
        let value = plugin.call::<Value>("add", vec![Value::U32(1), Value::U32(2)], &limits).await.unwrap();
        assert_eq!(value, Value::U32(3));
    });
}

#[test]
fn what_it_exports_is_told() {
    let functions = plugin().functions();
    assert!(functions.contains(&"add".to_owned()) && functions.contains(&"test:math/ops#twice".to_owned()));
}

#[test]
fn wrong_names_and_types_are_errors_that_leave_the_instance_alone() {
    let (plugin, limits) = (plugin(), CallLimits::default());
    block_on(async {
        let mut instance = plugin.instantiate(&Grants::default(), &limits).await.unwrap();
        for name in ["nothing", "test:math/ops#nothing", "nothing#add", "test:math/ops", ""] {
            let error = instance.call::<u32>(name, (), &limits).await.unwrap_err();
            assert!(matches!(error, PluginError::NoFunction { .. }), "{name}: {error}");
        }
        let error = instance.call::<u32>("add", (1_u32,), &limits).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "`add` was called with the wrong types: it takes 2 arguments and was given 1"
        );
        let error = instance.call::<u32>("add", (1_u32, "2"), &limits).await.unwrap_err();
        assert!(error.to_string().ends_with("argument `b`: expected u32, found string"), "{error}");
        let error = instance.call::<String>("add", (1_u32, 2_u32), &limits).await.unwrap_err();
        assert!(error.to_string().ends_with("expected string, found u32"), "{error}");
        assert_eq!(instance.call::<u32>("add", (1_u32, 2_u32), &limits).await.unwrap(), 3);
    });
}

#[test]
fn an_instance_remembers_and_a_fresh_one_does_not() {
    let (plugin, limits) = (plugin(), CallLimits::default());
    block_on(async {
        let mut instance = plugin.instantiate(&Grants::default(), &limits).await.unwrap();
        for count in 1..=3_u32 {
            assert_eq!(instance.call::<u32>("count", (), &limits).await.unwrap(), count);
        }
        assert_eq!(plugin.call::<u32>("count", (), &limits).await.unwrap(), 1);
    });
}

#[test]
fn an_endless_loop_is_a_timeout_and_the_program_goes_on() {
    let plugin = plugin();
    block_on(async {
        let begun = Instant::now();
        let mut instance = plugin.instantiate(&Grants::default(), &CallLimits::default()).await.unwrap();
        let error = instance.call::<()>("spin", (), &limits(50, 1 << 20)).await.unwrap_err();
        assert_eq!(error.to_string(), "`spin` took longer than 50 ms");
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        let error = instance.call::<u32>("add", (1_u32, 2_u32), &CallLimits::default()).await.unwrap_err();
        assert!(matches!(error, PluginError::Poisoned));
        assert_eq!(plugin.call::<u32>("add", (1_u32, 2_u32), &CallLimits::default()).await.unwrap(), 3);
    });
}

#[test]
fn a_plugin_that_computes_lets_others_run() {
    let plugin = plugin();
    block_on(async {
        let (limits, mut turns) = (limits(300, 1 << 20), 0);
        let spin = plugin.call::<()>("spin", (), &limits);
        tokio::pin!(spin);
        loop {
            tokio::select! {
                biased;
                ended = &mut spin => break assert!(matches!(ended, Err(PluginError::Timeout { .. }))),
                () = tokio::time::sleep(Duration::from_millis(1)) => turns += 1,
            }
        }
        assert!(turns > 5, "{turns}");
    });
}

#[test]
fn a_call_that_is_dropped_poisons_the_instance() {
    let (plugin, limits) = (plugin(), limits(60_000, 1 << 20));
    block_on(async {
        let mut instance = plugin.instantiate(&Grants::default(), &limits).await.unwrap();
        let spin = instance.call::<()>("spin", (), &limits);
        assert!(tokio::time::timeout(Duration::from_millis(30), spin).await.is_err());
        let error = instance.call::<u32>("count", (), &limits).await.unwrap_err();
        assert!(matches!(error, PluginError::Poisoned));
    });
}

#[test]
fn eating_memory_is_an_error_of_the_call() {
    let plugin = plugin();
    block_on(async {
        let error = plugin.call::<()>("eat", (), &limits(10_000, 8 << 20)).await.unwrap_err();
        assert!(matches!(error, PluginError::Memory { .. }), "{error}");
        assert!(error.to_string().contains("its limit is 8388608"), "{error}");
        let error = plugin.call::<u32>("count", (), &limits(1000, 1000)).await.unwrap_err();
        assert!(matches!(error, PluginError::Memory { .. }), "{error}");
    });
}

#[test]
fn a_trap_says_where() {
    let plugin = plugin();
    block_on(async {
        let error = plugin.call::<u32>("divide", (1_u32, 0_u32), &CallLimits::default()).await.unwrap_err();
        let PluginError::Trap { function, message, backtrace } = error else { panic!("{error}") };
        assert_eq!((function.as_str(), message.as_str()), ("divide", "wasm trap: integer divide by zero"));
        assert!(backtrace.unwrap().contains("divide_inner"));
    });
}

#[test]
fn what_is_no_plugin_is_refused() {
    let engine = PluginEngine::new().unwrap();
    for (text, words) in [
        ("(module)", "plugins are components"),
        ("(component (import \"env:other/thing\" (func)))", "env:other/thing"),
        ("(component (core module (func i32.add)))", "type mismatch"),
        ("#!/bin/sh", "not WebAssembly"),
    ] {
        let error = engine.load(text.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(words), "{text}: {error}");
    }
}

#[test]
fn without_a_runtime_it_is_an_error_and_no_panic() {
    let (plugin, limits) = (plugin(), CallLimits::default());
    let call = plugin.call::<u32>("count", (), &limits);
    let waker = std::task::Waker::noop();
    match std::pin::pin!(call).poll(&mut std::task::Context::from_waker(waker)) {
        std::task::Poll::Ready(Err(PluginError::NoRuntime { .. })) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn instances_from_a_pool_and_from_many_threads() {
    let engine = PluginEngine::with_allocation(Allocation::Pool { instances: 8 }).unwrap();
    let plugin = engine.load(PLUGIN.as_bytes()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                block_on(async {
                    for i in 0..200_u32 {
                        let sum =
                            plugin.call::<u32>("add", (i, 1_u32), &CallLimits::default()).await.unwrap();
                        assert_eq!(sum, i + 1);
                        assert_eq!(plugin.call::<u32>("count", (), &CallLimits::default()).await.unwrap(), 1);
                    }
                });
            });
        }
    });
}

#[test]
fn an_engine_ends_while_its_thread_sleeps_and_while_it_ticks() {
    for _ in 0..20 {
        drop(PluginEngine::new().unwrap());
    }
    let plugin = plugin();
    block_on(async {
        let limits = limits(20, 1 << 20);
        assert!(plugin.call::<()>("spin", (), &limits).await.is_err());
    });
}

#[cfg(feature = "embed")]
#[test]
fn a_plugin_compiled_in_a_child_works_the_same_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (scratch, source) = (dir.path().join("scratch"), dir.path().join("source"));
    std::fs::create_dir(&scratch).unwrap();
    let runner = brig_wasm::runner::install(env!("CARGO_TARGET_TMPDIR").as_ref()).unwrap();
    let engine = PluginEngine::new().unwrap();
    std::fs::write(&source, PLUGIN).unwrap();
    let plugin = engine.load_isolated(&runner, &scratch, &source).unwrap();
    block_on(async {
        assert_eq!(plugin.call::<u32>("add", (2_u32, 3_u32), &CallLimits::default()).await.unwrap(), 5);
        let error = plugin.call::<()>("spin", (), &limits(50, 1 << 20)).await.unwrap_err();
        assert!(matches!(error, PluginError::Timeout { .. }), "{error}");
    });
    for text in ["(module)", "(component (core module (func i32.add)))", "no wasm at all"] {
        std::fs::write(&source, text).unwrap();
        assert!(engine.load_isolated(&runner, &scratch, &source).is_err(), "{text}");
    }
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0);
}
