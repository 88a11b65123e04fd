//! A value of a case that remembers which of its members were read, so that no precondition is ignored in silence.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Index;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// One value with all values that it contains.
pub struct Given {
    value: Value,
    is_read: Cell<bool>,
    members: BTreeMap<String, Given>,
    items: Vec<Given>,
}

impl Given {
    pub fn new(value: Value) -> Self {
        let members = value.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone().into()));
        let members = members.collect();
        let items = value.as_array().into_iter().flatten().cloned().map(Self::from).collect();
        Self { value, is_read: Cell::new(false), members, items }
    }

    /// Returns the whole value; all of it counts as read.
    pub fn json(&self) -> &Value {
        self.is_read.set(true);
        &self.value
    }

    /// Returns the whole value as a type of the library; all of it counts as read.
    pub fn to<T: DeserializeOwned>(&self) -> T {
        serde_json::from_value(self.json().clone()).unwrap_or_else(|error| panic!("{error}: {}", self.value))
    }

    pub fn as_str(&self) -> Option<&str> {
        self.json().as_str()
    }

    pub fn as_u64(&self) -> Option<u64> {
        self.json().as_u64()
    }

    pub fn as_i64(&self) -> Option<i64> {
        self.json().as_i64()
    }

    pub fn as_bool(&self) -> Option<bool> {
        self.json().as_bool()
    }

    /// Returns the items, none of which counts as read yet.
    pub fn items(&self) -> impl Iterator<Item = &Self> {
        self.items.iter()
    }

    /// Returns the members, none of which counts as read yet.
    pub fn members(&self) -> impl Iterator<Item = (&String, &Self)> {
        self.members.iter()
    }

    pub fn get(&self, name: &str) -> Option<&Self> {
        self.members.get(name)
    }

    /// Whether the value is `null`. Asking for the kind of a value does not count as reading it.
    pub fn is_null(&self) -> bool {
        self.value.is_null()
    }

    pub fn is_string(&self) -> bool {
        self.value.is_string()
    }

    pub fn is_number(&self) -> bool {
        self.value.is_number()
    }

    pub fn is_array(&self) -> bool {
        self.value.is_array()
    }

    pub fn is_object(&self) -> bool {
        self.value.is_object()
    }

    /// Paths of the values that the case did not read, except notes, which are for people, and `null`, which has no
    /// content to ignore.
    pub fn unread(&self) -> Vec<String> {
        let mut paths = vec![];
        self.collect_unread("", &mut paths);
        paths
    }

    fn collect_unread(&self, path: &str, paths: &mut Vec<String>) {
        if self.is_read.get() || self.value.is_null() || path.ends_with(".note") {
            return;
        }
        self.members.iter().for_each(|(name, member)| member.collect_unread(&format!("{path}.{name}"), paths));
        self.items.iter().enumerate().for_each(|(n, item)| item.collect_unread(&format!("{path}[{n}]"), paths));
        if !self.is_object() && !self.is_array() {
            paths.push(path.into());
        }
    }
}

impl From<Value> for Given {
    fn from(value: Value) -> Self {
        Self::new(value)
    }
}

impl Index<&str> for Given {
    type Output = Self;

    /// A missing member is `null`, as in [`Value`].
    fn index(&self, name: &str) -> &Self {
        thread_local! {
            static NULL: &'static Given = Box::leak(Box::new(Given::new(Value::Null)));
        }
        self.get(name).unwrap_or_else(|| NULL.with(|null| *null))
    }
}

impl PartialEq<str> for Given {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == Some(other)
    }
}

impl PartialEq<&str> for Given {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == Some(*other)
    }
}

impl PartialEq<bool> for Given {
    fn eq(&self, other: &bool) -> bool {
        self.as_bool() == Some(*other)
    }
}

impl PartialEq for Given {
    fn eq(&self, other: &Self) -> bool {
        self.json() == other.json()
    }
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}
