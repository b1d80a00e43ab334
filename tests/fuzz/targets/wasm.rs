//! What a binary is, found out before anything is compiled; and the runner's requests.
#![no_main]

use brig_fuzz::{target, told};
use brig_wasm::form::is_text;
use brig_wasm::request::{CompileRequest, REQUEST_VERSION};
use brig_wasm::{Encoding, Form, RunRequest, Wasi};

target!(start(), |data| {
    is_text(data);
    let sniffed = Encoding::sniff(data);
    match Form::detect(data) {
        Ok(form) => {
            assert!(sniffed.is_some(), "not seen by its first bytes");
            if let Err(reason) = form.check_runnable() {
                told(&reason);
            }
        }
        Err(error) => drop(told(&error)),
    }
    if let Ok(request) = RunRequest::decode(data) {
        let again = RunRequest::decode(&request.encode().expect("a request that was read"));
        assert_eq!(again.ok().as_ref(), Some(&request));
    }
    if let Ok(request) = CompileRequest::decode(data) {
        let again = CompileRequest::decode(&request.encode().expect("a request that was read"));
        assert_eq!(again.ok().as_ref(), Some(&request));
    }
});

fn start() -> Vec<Vec<u8>> {
    let texts = [
        "(module)",
        r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1) (func (export "_start")) (data (i32.const 0) "hello"))"#,
        r#"(module (func (export "add") (param i32 i64) (result f64) (f64.const 1)) (table 1 funcref))"#,
        "(component)",
        r#"(component (component $c (core module $m (func (export "f"))) (core instance $i (instantiate $m))
            (func (export "f") (canon lift (core func $i "f")))) (instance $i (instantiate $c))
            (export "wasi:cli/run@0.2.0" (instance $i)))"#,
        r#"(component (import "wasi:io/error@0.2.3" (instance (export "error" (type (sub resource))))))"#,
    ];
    let mut all: Vec<_> = texts.iter().map(|text| wat::parse_str(text).expect("a module")).collect();
    all.push(texts[1].into());
    let run = RunRequest {
        version: REQUEST_VERSION,
        module: "/m".into(),
        identity: "key/sha256:00".into(),
        name: "n".into(),
        encoding: Encoding::Module,
        wasi: Wasi::P1,
        args: vec!["a".into()],
        env: vec!["A=b".into()],
        preopens: Vec::new(),
        cwd: Some("/".into()),
        memory: Some(1 << 20),
        timeout_ms: None,
        network: false,
        precise_clocks: true,
        invoke: None,
    };
    all.extend(run.encode());
    all
}
