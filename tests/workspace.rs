//! The rules of the repository that a compiler doesn't check.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Who may depend on whom, among the crates of the workspace (`docs/architecture.md`). Build scripts may use
/// `brig-embed`, tests may use `brig-testing`.
const BORDERS: &[(&str, &[&str])] = &[
    ("brig-oci", &[]),
    ("brig-embed", &[]),
    ("brig-runtime", &["brig-oci"]),
    ("brig-store", &["brig-oci"]),
    ("brig-registry", &["brig-oci"]),
    ("brig-linux", &["brig-oci", "brig-runtime"]),
    ("brig-linux-helper", &["brig-oci", "brig-runtime"]),
    ("brig-wasm", &["brig-oci", "brig-runtime"]),
    ("brig-wasm-runner", &["brig-oci", "brig-runtime", "brig-wasm"]),
    ("brig-engine", &["brig-oci", "brig-runtime", "brig-store", "brig-registry", "brig-linux", "brig-wasm"]),
    ("brig-testing", &["brig-oci"]),
    ("brig-cli", &["brig-engine"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The packages of the workspace, as cargo describes them.
fn packages() -> BTreeMap<String, Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages.map(|package| (package["name"].as_str().unwrap().to_owned(), package.clone())).collect()
}

/// The names of a package's dependencies of one kind: `null` for ordinary ones.
fn dependencies<'a>(package: &'a Value, kind: &Value) -> Vec<&'a str> {
    let all = package["dependencies"].as_array().unwrap().iter();
    all.filter(|dependency| dependency["kind"] == *kind)
        .map(|dependency| dependency["name"].as_str().unwrap())
        .collect()
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // A workspace of its own names its files itself.
            if !path.join("Cargo.toml").exists() {
                rust_files(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn no_test_file_is_forgotten() {
    let tests = root().join("tests");
    let mut files = Vec::new();
    rust_files(&tests, &mut files);
    for file in files.iter().filter(|file| **file != tests.join("main.rs")) {
        let is_mod = file.file_name().unwrap() == "mod.rs";
        let named = if is_mod { file.parent().unwrap() } else { file };
        let above = named.parent().unwrap();
        let parent = if above == tests { tests.join("main.rs") } else { above.join("mod.rs") };
        let line = format!("mod {};", named.file_stem().unwrap().to_str().unwrap());
        let text = fs::read_to_string(&parent).unwrap();
        assert!(text.lines().any(|given| given == line), "`{line}` is missing in {}", parent.display());
    }
}

#[test]
fn crates_keep_to_their_borders() {
    let packages = packages();
    for (name, package) in &packages {
        let allowed = BORDERS.iter().find(|(crate_name, _)| crate_name == name);
        let allowed = allowed.unwrap_or_else(|| panic!("{name} has no line in BORDERS")).1;
        for dependency in dependencies(package, &Value::Null) {
            let ours = packages.contains_key(dependency);
            assert!(!ours || allowed.contains(&dependency), "{name} may not depend on {dependency}");
        }
    }
}

#[test]
fn only_brig_wasm_names_wasmtime() {
    for (name, package) in packages() {
        let dependencies = dependencies(&package, &Value::Null);
        let wasmtime = dependencies.iter().find(|dependency| dependency.starts_with("wasmtime"));
        assert!(wasmtime.is_none() || name == "brig-wasm", "{name} depends on {wasmtime:?}");
    }
}

#[test]
fn nobody_hides_errors_behind_anyhow() {
    for (name, package) in packages() {
        for kind in [Value::Null, "dev".into(), "build".into()] {
            let found = dependencies(&package, &kind);
            assert!(!found.iter().any(|dependency| ["anyhow", "eyre"].contains(dependency)), "{name}");
        }
    }
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    for (name, package) in packages() {
        let manifest = fs::read_to_string(package["manifest_path"].as_str().unwrap()).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{name} doesn't take the workspace's lints");
    }
}
