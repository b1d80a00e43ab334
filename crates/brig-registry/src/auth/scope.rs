//! What a token is for (distribution's token authentication, "Requesting a Token": `type:name:actions`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A set of scopes; actions on one resource are merged, so that equal wishes have equal texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Scopes(BTreeMap<String, BTreeSet<String>>);

impl Scopes {
    /// Reading a repository.
    pub(crate) fn pull(repository: &str) -> Self {
        Self::default().and(repository, &["pull"])
    }

    /// Reading and writing a repository.
    pub(crate) fn push(repository: &str) -> Self {
        Self::default().and(repository, &["pull", "push"])
    }

    /// Writing a repository and reading blobs of another one.
    pub(crate) fn mount(repository: &str, from: &str) -> Self {
        Self::push(repository).and(from, &["pull"])
    }

    fn and(mut self, repository: &str, actions: &[&str]) -> Self {
        let entry = self.0.entry(format!("repository:{repository}")).or_default();
        entry.extend(actions.iter().map(|&action| action.to_owned()));
        self
    }

    /// Adds what a challenge asks for: a proxy may know the repository under another name.
    pub(crate) fn merge(&mut self, challenge: &str) {
        for scope in challenge.split_ascii_whitespace().take(16) {
            if let Some((resource, actions)) = scope.rsplit_once(':') {
                let entry = self.0.entry(resource.to_owned()).or_default();
                entry.extend(actions.split(',').filter(|action| !action.is_empty()).map(str::to_owned));
            }
        }
    }

    /// The scopes one by one, as query parameters carry them.
    pub(crate) fn each(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(resource, actions)| {
            let actions: Vec<_> = actions.iter().map(String::as_str).collect();
            format!("{resource}:{}", actions.join(","))
        })
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.each().enumerate() {
            let separator = if index == 0 { "" } else { " " };
            write!(f, "{separator}{scope}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_on_one_resource_merge() {
        let mut scopes = Scopes::push("a/b");
        scopes.merge("repository:a/b:pull repository:host:5000/c:pull,delete");
        assert_eq!(scopes.to_string(), "repository:a/b:pull,push repository:host:5000/c:delete,pull");
    }

    #[test]
    fn a_mount_reads_the_other_repository() {
        assert_eq!(Scopes::mount("to", "from").to_string(), "repository:from:pull repository:to:pull,push");
        assert_eq!(Scopes::mount("a", "a"), Scopes::push("a"));
    }
}
