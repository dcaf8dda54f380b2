//! What the state of a container says: which image it runs, and how its last renewal went.
//!
//! The Puppet module's script writes these; this program only reads them.
//!
//! **Invariant:** as of an image: what was read is fit to show.

use crate::fields::Fields;
use crate::image::is_text;
use crate::{Time, VERSION};
use serde::Serialize;

/// How a container stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[expect(missing_docs, reason = "the words say it")]
pub enum Standing {
    #[default]
    Running,
    /// A new one runs, and the old one is kept until it has proved itself.
    Proving,
    #[serde(rename = "Rolled back")]
    RolledBack,
    Failed,
}

/// The state of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Container {
    /// [`VERSION`].
    pub v: u32,
    pub name: String,
    /// As it was started: `registry.example/app:stable`.
    pub image: String,
    /// What it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    pub status: Standing,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
}

impl Standing {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "Running" => Self::Running,
            "Proving" => Self::Proving,
            "Rolled back" => Self::RolledBack,
            "Failed" => Self::Failed,
            _ => return None,
        })
    }
}

impl Container {
    /// The state that `bytes` hold, where they hold one and all of it may be shown.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::parse(bytes)?;
        let container = Self {
            v: fields.number("v").unwrap_or_default(),
            name: fields.needed_text("name"),
            image: fields.needed_text("image"),
            digest: fields.text("digest"),
            status: fields.needed("status", Standing::named),
            since: fields.time("since"),
            details: fields.text("details"),
        };
        (fields.are_sound() && container.is_fit()).then_some(container)
    }

    fn is_fit(&self) -> bool {
        let optional = [&self.digest, &self.details].into_iter().flatten();
        self.v == VERSION
            && !self.name.is_empty()
            && [&self.name, &self.image].into_iter().chain(optional).all(|text| is_text(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_and_what_is_none() {
        let text = r#"{"v":1,"name":"web","image":"a:1","digest":"sha256:1","status":"Rolled back","since":"2026-11-25T02:18:33Z","details":"unhealthy"}"#;
        let container = Container::parse(text.as_bytes()).expect("a container");
        assert_eq!(container.status, Standing::RolledBack);
        assert_eq!(serde_json::to_string(&container).expect("JSON"), text);
        for (from, to) in [("\"v\":1", "\"v\":2"), ("Rolled back", "Rolling"), ("web", ""), ("unhealthy", "\\u0007")] {
            assert_eq!(Container::parse(text.replacen(from, to, 1).as_bytes()), None, "{to}");
        }
    }
}
