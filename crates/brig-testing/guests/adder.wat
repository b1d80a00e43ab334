(component
  (core module $module
    (func (export "add") (param i32 i32) (result i32)
      (i32.add (local.get 0) (local.get 1)))
    (func (export "spin") (loop $again (br $again))))
  (core instance $instance (instantiate $module))
  (func (export "add") (param "a" u32) (param "b" u32) (result u32)
    (canon lift (core func $instance "add")))
  (func (export "spin")
    (canon lift (core func $instance "spin"))))
