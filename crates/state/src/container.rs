//! The state of a container: which image it runs, and how its last replacement ended.
//!
//! A script of the Puppet module writes these files; this crate only reads them.
//!
//! **Invariant:** text that was read is safe to show, as in the state of an image.

use crate::fields::Fields;
use crate::image::is_text;
use crate::{Time, VERSION};
use serde::Serialize;

/// The status of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[expect(missing_docs, reason = "the words say it")]
pub enum Standing {
    #[default]
    Running,
    /// A new container runs on trial; the old one is kept until the trial has succeeded.
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
    /// The reference with which the container was started: `registry.example/app:stable`.
    pub image: String,
    /// The digest of the image that it runs.
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
    /// Reads a state from `bytes`. `None` if it is malformed, or if some text is not safe to show.
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
        let container = Container::parse(text.replace("unhealthy", "").as_bytes()).expect("a container");
        assert_eq!(container.details, None);
        for (from, to) in [("\"v\":1", "\"v\":2"), ("Rolled back", "Rolling"), ("web", ""), ("unhealthy", "\\u0007")] {
            assert_eq!(Container::parse(text.replacen(from, to, 1).as_bytes()), None, "{to}");
        }
    }
}
