//! Values that go into and come out of plugins: the component model's, as Rust's own.

use wasmtime::component::{Type, Val};

/// A value of the component model. Resources, streams and futures aren't served.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `bool`
    Bool(bool),
    /// `s8`
    S8(i8),
    /// `u8`
    U8(u8),
    /// `s16`
    S16(i16),
    /// `u16`
    U16(u16),
    /// `s32`
    S32(i32),
    /// `u32`
    U32(u32),
    /// `s64`
    S64(i64),
    /// `u64`
    U64(u64),
    /// `f32`
    F32(f32),
    /// `f64`
    F64(f64),
    /// `char`
    Char(char),
    /// `string`
    String(String),
    /// `list<…>`
    List(Vec<Self>),
    /// `tuple<…>`
    Tuple(Vec<Self>),
    /// `record`: names and values, in the order of its declaration.
    Record(Vec<(String, Self)>),
    /// `variant`: the case, and what it carries.
    Variant(String, Option<Box<Self>>),
    /// `enum`: the case.
    Enum(String),
    /// `flags`: those that are set.
    Flags(Vec<String>),
    /// `option<…>`
    Option(Option<Box<Self>>),
    /// `result<…>`
    Result(Result<Option<Box<Self>>, Option<Box<Self>>>),
}

/// What can be an argument.
pub trait ToValue {
    /// The same as a value.
    fn to_value(self) -> Value;
}

/// What can be a result.
pub trait FromValue: Sized {
    /// Takes what a function returned, `None` if it returns nothing. An error is a sentence that says what didn't fit.
    fn from_value(value: Option<Value>) -> Result<Self, String>;
}

/// The arguments of a call: a tuple of things that can be arguments, or a vector of values.
pub trait Params {
    /// The same as values.
    fn into_values(self) -> Vec<Value>;
}

impl Params for Vec<Value> {
    fn into_values(self) -> Vec<Value> {
        self
    }
}

macro_rules! params {
    ($($($name:ident)*;)*) => {$(
        impl<$($name: ToValue),*> Params for ($($name,)*) {
            #[allow(non_snake_case, reason = "one variable for each type parameter, of the same name")]
            fn into_values(self) -> Vec<Value> {
                let ($($name,)*) = self;
                vec![$($name.to_value()),*]
            }
        }
    )*};
}
params! { ; A; A B; A B C; A B C D; A B C D E; A B C D E F; }

macro_rules! plain {
    ($($type:ty => $case:ident $word:literal,)*) => {$(
        impl ToValue for $type {
            fn to_value(self) -> Value {
                Value::$case(self)
            }
        }
        impl FromValue for $type {
            fn from_value(value: Option<Value>) -> Result<Self, String> {
                match value {
                    Some(Value::$case(value)) => Ok(value),
                    other => Err(unexpected($word, other.as_ref())),
                }
            }
        }
    )*};
}
plain! {
    bool => Bool "bool", i8 => S8 "s8", u8 => U8 "u8", i16 => S16 "s16", u16 => U16 "u16", i32 => S32 "s32",
    u32 => U32 "u32", i64 => S64 "s64", u64 => U64 "u64", f32 => F32 "f32", f64 => F64 "f64", char => Char "char",
    String => String "string",
}

impl ToValue for Value {
    fn to_value(self) -> Value {
        self
    }
}

impl ToValue for &str {
    fn to_value(self) -> Value {
        Value::String(self.into())
    }
}

impl<T: ToValue> ToValue for Vec<T> {
    fn to_value(self) -> Value {
        Value::List(self.into_iter().map(ToValue::to_value).collect())
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(self) -> Value {
        Value::Option(self.map(|value| Box::new(value.to_value())))
    }
}

impl FromValue for () {
    fn from_value(value: Option<Value>) -> Result<Self, String> {
        match value {
            None => Ok(()),
            other => Err(unexpected("nothing", other.as_ref())),
        }
    }
}

impl FromValue for Value {
    fn from_value(value: Option<Value>) -> Result<Self, String> {
        value.ok_or_else(|| unexpected("a value", None))
    }
}

impl FromValue for Option<Value> {
    fn from_value(value: Option<Value>) -> Result<Self, String> {
        Ok(value)
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(value: Option<Value>) -> Result<Self, String> {
        match value {
            Some(Value::List(values)) => values.into_iter().map(|value| T::from_value(Some(value))).collect(),
            other => Err(unexpected("list", other.as_ref())),
        }
    }
}

/// A `result`: both sides may carry something or nothing.
impl<T: FromValue, E: FromValue> FromValue for Result<T, E> {
    fn from_value(value: Option<Value>) -> Result<Self, String> {
        match value {
            Some(Value::Result(Ok(value))) => T::from_value(value.map(|value| *value)).map(Ok),
            Some(Value::Result(Err(value))) => E::from_value(value.map(|value| *value)).map(Err),
            other => Err(unexpected("result", other.as_ref())),
        }
    }
}

fn unexpected(wanted: &str, found: Option<&Value>) -> String {
    match found {
        Some(value) => format!("expected {wanted}, found {}", word(&Val::from(value.clone()))),
        None => format!("expected {wanted}, found nothing"),
    }
}

impl From<Value> for Val {
    fn from(value: Value) -> Self {
        let all = |values: Vec<Value>| values.into_iter().map(Self::from).collect();
        let boxed = |value: Option<Box<Value>>| value.map(|value| Box::new(Self::from(*value)));
        match value {
            Value::Bool(value) => Self::Bool(value),
            Value::S8(value) => Self::S8(value),
            Value::U8(value) => Self::U8(value),
            Value::S16(value) => Self::S16(value),
            Value::U16(value) => Self::U16(value),
            Value::S32(value) => Self::S32(value),
            Value::U32(value) => Self::U32(value),
            Value::S64(value) => Self::S64(value),
            Value::U64(value) => Self::U64(value),
            Value::F32(value) => Self::Float32(value),
            Value::F64(value) => Self::Float64(value),
            Value::Char(value) => Self::Char(value),
            Value::String(value) => Self::String(value),
            Value::List(values) => Self::List(all(values)),
            Value::Tuple(values) => Self::Tuple(all(values)),
            Value::Record(fields) => {
                Self::Record(fields.into_iter().map(|(name, value)| (name, value.into())).collect())
            }
            Value::Variant(case, value) => Self::Variant(case, boxed(value)),
            Value::Enum(case) => Self::Enum(case),
            Value::Flags(names) => Self::Flags(names),
            Value::Option(value) => Self::Option(boxed(value)),
            Value::Result(Ok(value)) => Self::Result(Ok(boxed(value))),
            Value::Result(Err(value)) => Self::Result(Err(boxed(value))),
        }
    }
}

impl TryFrom<Val> for Value {
    type Error = String;

    fn try_from(value: Val) -> Result<Self, String> {
        let all = |values: Vec<Val>| values.into_iter().map(Self::try_from).collect::<Result<_, _>>();
        let boxed =
            |value: Option<Box<Val>>| value.map(|value| Self::try_from(*value).map(Box::new)).transpose();
        Ok(match value {
            Val::Bool(value) => Self::Bool(value),
            Val::S8(value) => Self::S8(value),
            Val::U8(value) => Self::U8(value),
            Val::S16(value) => Self::S16(value),
            Val::U16(value) => Self::U16(value),
            Val::S32(value) => Self::S32(value),
            Val::U32(value) => Self::U32(value),
            Val::S64(value) => Self::S64(value),
            Val::U64(value) => Self::U64(value),
            Val::Float32(value) => Self::F32(value),
            Val::Float64(value) => Self::F64(value),
            Val::Char(value) => Self::Char(value),
            Val::String(value) => Self::String(value),
            Val::List(values) | Val::FixedLengthList(values) => Self::List(all(values)?),
            Val::Tuple(values) => Self::Tuple(all(values)?),
            Val::Record(fields) => Self::Record(
                fields.into_iter().map(|(name, value)| Ok((name, Self::try_from(value)?))).collect::<Result<
                    _,
                    String,
                >>(
                )?,
            ),
            Val::Variant(case, value) => Self::Variant(case, boxed(value)?),
            Val::Enum(case) => Self::Enum(case),
            Val::Flags(names) => Self::Flags(names),
            Val::Option(value) => Self::Option(boxed(value)?),
            Val::Result(Ok(value)) => Self::Result(Ok(boxed(value)?)),
            Val::Result(Err(value)) => Self::Result(Err(boxed(value)?)),
            other => return Err(format!("a {} can't leave a plugin", word(&other))),
        })
    }
}

/// Whether the outermost type of an argument is right; wasmtime checks the rest when it lowers it.
pub(super) fn fits(value: &Val, ty: &Type) -> Result<(), String> {
    let wanted = type_word(ty);
    let found = word(value);
    if wanted == found { Ok(()) } else { Err(format!("expected {wanted}, found {found}")) }
}

fn word(value: &Val) -> &'static str {
    match value {
        Val::Bool(_) => "bool",
        Val::S8(_) => "s8",
        Val::U8(_) => "u8",
        Val::S16(_) => "s16",
        Val::U16(_) => "u16",
        Val::S32(_) => "s32",
        Val::U32(_) => "u32",
        Val::S64(_) => "s64",
        Val::U64(_) => "u64",
        Val::Float32(_) => "f32",
        Val::Float64(_) => "f64",
        Val::Char(_) => "char",
        Val::String(_) => "string",
        Val::List(_) | Val::FixedLengthList(_) => "list",
        Val::Map(_) => "map",
        Val::Record(_) => "record",
        Val::Tuple(_) => "tuple",
        Val::Variant(..) => "variant",
        Val::Enum(_) => "enum",
        Val::Option(_) => "option",
        Val::Result(_) => "result",
        Val::Flags(_) => "flags",
        Val::Resource(_) => "resource",
        Val::Future(_) => "future",
        Val::Stream(_) => "stream",
        Val::ErrorContext(_) => "error-context",
    }
}

fn type_word(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "bool",
        Type::S8 => "s8",
        Type::U8 => "u8",
        Type::S16 => "s16",
        Type::U16 => "u16",
        Type::S32 => "s32",
        Type::U32 => "u32",
        Type::S64 => "s64",
        Type::U64 => "u64",
        Type::Float32 => "f32",
        Type::Float64 => "f64",
        Type::Char => "char",
        Type::String => "string",
        Type::List(_) | Type::FixedLengthList(_) => "list",
        Type::Map(_) => "map",
        Type::Record(_) => "record",
        Type::Tuple(_) => "tuple",
        Type::Variant(_) => "variant",
        Type::Enum(_) => "enum",
        Type::Option(_) => "option",
        Type::Result(_) => "result",
        Type::Flags(_) => "flags",
        Type::Own(_) | Type::Borrow(_) => "resource",
        Type::Future(_) => "future",
        Type::Stream(_) => "stream",
        Type::ErrorContext => "error-context",
    }
}
