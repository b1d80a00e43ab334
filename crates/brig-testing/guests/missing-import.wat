(module
  (import "nobody" "has_this" (func $missing))
  (memory (export "memory") 1)
  (func (export "_start") (call $missing)))
