;; The wasm half of `brig demo`: a WASI preview 1 command that says hello and how many arguments it was given.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; One iovec at 0, the count of written bytes at 8, the arguments' count at 12 and size at 16.
  (data (i32.const 64) "Hello from WebAssembly: no kernel calls, no files, no network, _ argument(s)\n")
  (func (export "_start")
    (drop (call $args_sizes_get (i32.const 12) (i32.const 16)))
    ;; The digit goes in place of the `_` at 64 + 63.
    (i32.store8 (i32.const 127) (i32.add (i32.const 48) (i32.load (i32.const 12))))
    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (i32.const 77))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
