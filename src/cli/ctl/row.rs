//! What a command answers: rows, whose fields are named once for all outputs.

use serde::{Serialize, Serializer};

use super::stamp::rfc3339;

/// One value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Not there: empty in a table and in CSV, `null` in JSON.
    Absent,
    Flag(bool),
    Number(u64),
    Text(String),
    /// Milliseconds since the Unix epoch.
    Time(u64),
    Ids(Vec<u32>),
    Texts(Vec<String>),
}

impl Value {
    /// A time of the API, where 0 means that there is none.
    pub const fn time_or_absent(unix_ms: u64) -> Self {
        match unix_ms {
            0 => Self::Absent,
            unix_ms => Self::Time(unix_ms),
        }
    }

    /// A text, where an empty one means that there is none.
    pub fn text_or_absent(text: &str) -> Self {
        match text {
            "" => Self::Absent,
            text => Self::Text(text.to_owned()),
        }
    }

    /// As one word or sentence, with nothing escaped.
    pub fn text(&self) -> String {
        match self {
            Self::Absent => String::new(),
            Self::Flag(flag) => flag.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
            Self::Time(unix_ms) => rfc3339(*unix_ms),
            Self::Ids(ids) => join(ids),
            Self::Texts(texts) => join(texts),
        }
    }
}

fn join<T: ToString>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(T::to_string).collect();
    items.join(" ")
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Into::into)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent => serializer.serialize_unit(),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Time(unix_ms) => serializer.serialize_str(&rfc3339(*unix_ms)),
            Self::Ids(ids) => ids.serialize(serializer),
            Self::Texts(texts) => texts.serialize(serializer),
        }
    }
}

/// One field of a row.
pub struct Field<R> {
    /// Its name in every output, in snake case. Scripts rely on it: it never changes.
    pub name: &'static str,
    /// How wide it is in a table whose rows are not known beforehand, in columns; 0: not in
    /// tables of many rows.
    pub width: usize,
    pub read: fn(&R) -> Value,
}

impl<R> Field<R> {
    /// A field that every output shows.
    pub const fn shown(name: &'static str, width: usize, read: fn(&R) -> Value) -> Self {
        Self { name, width, read }
    }

    /// A field that a table of many rows has no room for.
    pub const fn detail(name: &'static str, read: fn(&R) -> Value) -> Self {
        Self {
            name,
            width: 0,
            read,
        }
    }
}

/// Something that is shown as one row.
pub trait Row: Sized + 'static {
    const FIELDS: &'static [Field<Self>];
}

/// A row as it stands in JSON: an object with its fields in their order.
pub struct AsJson<'a, R>(pub &'a R);

impl<R: Row> Serialize for AsJson<'_, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = R::FIELDS.iter();
        serializer.collect_map(fields.map(|field| (field.name, (field.read)(self.0))))
    }
}
