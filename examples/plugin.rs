//! A host program that loads a component as a plugin, calls a typed export of it with a time and a memory limit, and
//! survives one that loops for ever.
//!
//! `cargo run --example plugin --features plugin`

use std::time::Duration;

use brig_engine::plugin::{CallLimits, PluginEngine, PluginError};

/// A component with three exports: `add`, `spin` (which never returns) and `grow` (which takes all the memory it gets).
const PLUGIN: &str = r#"
(component
  (core module $code
    (memory 1)
    (func (export "add") (param i32 i32) (result i32)
      (i32.add (local.get 0) (local.get 1)))
    (func (export "spin")
      (loop (br 0)))
    (func (export "grow") (result i32)
      (loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
      (memory.size)))
  (core instance $i (instantiate $code))
  (func (export "add") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add")))
  (func (export "spin") (canon lift (core func $i "spin")))
  (func (export "grow") (result u32) (canon lift (core func $i "grow"))))
"#;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "this program talks to people")]
async fn main() -> Result<(), PluginError> {
    let engine = PluginEngine::new()?;
    let plugin = engine.load(PLUGIN.as_bytes())?;
    println!("exports: {}", plugin.functions().join(", "));

    let limits = CallLimits { timeout: Duration::from_millis(100), memory: 8 << 20 };
    let sum: u32 = plugin.call("add", (2_u32, 3_u32), &limits).await?;
    println!("add(2, 3) = {sum}");

    match plugin.call::<()>("spin", (), &limits).await {
        Err(error) => println!("spin: {error}"),
        Ok(()) => println!("spin: returned, which it can't"),
    }
    match plugin.call::<u32>("grow", (), &limits).await {
        Err(error) => println!("grow: {error}"),
        Ok(pages) => println!("grow: stopped at {} KiB", pages * 64),
    }

    let sum: u32 = plugin.call("add", (20_u32, 22_u32), &limits).await?;
    println!("add(20, 22) = {sum}: the host and the plugin live on");
    Ok(())
}
