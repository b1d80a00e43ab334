//! Where credentials come from: docker's `config.json` and containers' `auth.json`.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;

use super::helper;
use super::secret::Secret;

/// The largest credentials file that is read, in bytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;
/// The key that docker keeps Docker Hub's credentials under.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
/// The host names of Docker Hub.
const DOCKER_HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// A way to prove who one is to a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credential {
    /// A user and a password, for Basic authentication or to get a token with.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: Secret,
    },
    /// An OAuth2 refresh token, which gets tokens (`identitytoken`).
    Identity(Secret),
    /// A bearer token, used as it stands (`registrytoken`).
    RegistryToken(Secret),
}

/// Why credentials couldn't be read. None of the messages carries a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthStoreError {
    /// A file couldn't be read.
    #[error("cannot read the credentials in `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file isn't the JSON that it should be.
    #[error("the credentials file `{}` is not valid at line {line}, column {column}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// A file is far larger than one of its kind.
    #[error("the credentials file `{}` has more than {MAX_FILE} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// An `auth` entry isn't base64 of `user:password`.
    #[error("the entry for `{key}` in `{}` is not base64 of `user:password`", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The entry's key.
        key: String,
    },
    /// A helper's name can't be a program's.
    #[error("`{name}` is not the name of a credential helper")]
    HelperName {
        /// The name.
        name: String,
    },
    /// A helper couldn't be started.
    #[error(
        "cannot run the credential helper `{program}`: install it, or remove it from the credentials file"
    )]
    HelperStart {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A helper failed.
    #[error("the credential helper `{program}` failed for `{server}`: {problem}")]
    Helper {
        /// The program.
        program: String,
        /// What it was asked for.
        server: String,
        /// What went wrong.
        problem: String,
    },
}

/// The credentials that a client may use, each for the registries it names and no other.
///
/// Sources are asked in order: what [`AuthStore::insert`] added, then the files. In one file, a helper of
/// `credHelpers` stands before `credsStore`, and that before `auths`. In `auths` the longest key wins: `host/org/app`
/// before `host/org` before `host`. Helpers run when a registry asks for credentials, not before.
#[derive(Clone, Debug, Default)]
pub struct AuthStore {
    given: BTreeMap<String, Credential>,
    files: Vec<Arc<AuthFile>>,
}

#[derive(Debug)]
struct AuthFile {
    path: PathBuf,
    content: Content,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    #[serde(default)]
    auths: Option<BTreeMap<String, Entry>>,
    #[serde(default)]
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
struct Entry {
    #[serde(default)]
    auth: Option<Secret>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<Secret>,
    #[serde(default)]
    identitytoken: Option<Secret>,
    #[serde(default)]
    registrytoken: Option<Secret>,
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl AuthStore {
    /// No credentials.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The files that docker and podman use, where they exist: `$REGISTRY_AUTH_FILE`,
    /// `$XDG_RUNTIME_DIR/containers/auth.json` (without the variable `/run/containers/<uid>/auth.json`),
    /// `$XDG_CONFIG_HOME/containers/auth.json`, then `config.json` in `$DOCKER_CONFIG` or `~/.docker`. Reads files: not for an async thread.
    ///
    /// # Errors
    /// A file exists and can't be read or parsed.
    pub fn from_environment() -> Result<Self, AuthStoreError> {
        let uid = std::fs::metadata("/proc/self").map(|process| process.uid()).ok();
        Self::from_files(&default_paths(uid, |name| std::env::var_os(name).map(PathBuf::from)))
    }

    /// The given files in their order of precedence; one that doesn't exist is left out. Reads files: not for an async
    /// thread.
    ///
    /// # Errors
    /// A file exists and can't be read or parsed.
    pub fn from_files<P: AsRef<Path>>(paths: &[P]) -> Result<Self, AuthStoreError> {
        let mut store = Self::default();
        for path in paths {
            store.files.extend(AuthFile::read(path.as_ref())?.map(Arc::new));
        }
        Ok(store)
    }

    /// Adds a credential for a registry, or for the repositories below `registry/namespace`. It wins over the files.
    pub fn insert(&mut self, key: &str, credential: Credential) {
        self.given.insert(normalized(key).to_owned(), credential);
    }

    /// The credential for a repository, `None` where there is none.
    ///
    /// # Errors
    /// A helper failed, or an entry is broken.
    pub async fn get(&self, registry: &str, repository: &str) -> Result<Option<Credential>, AuthStoreError> {
        let keys = keys(registry, repository);
        if let Some(credential) = keys.iter().find_map(|key| self.given.get(key)) {
            return Ok(Some(credential.clone()));
        }
        for file in &self.files {
            if let Some(credential) = file.get(registry, &keys).await? {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }
}

impl AuthFile {
    fn read(path: &Path) -> Result<Option<Self>, AuthStoreError> {
        let failed = |source| AuthStoreError::Read { path: path.into(), source };
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut text = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut text).map_err(failed)?;
        if text.len() as u64 > MAX_FILE {
            return Err(AuthStoreError::TooLarge { path: path.into() });
        }
        if text.trim_ascii().is_empty() {
            return Ok(None);
        }
        // The parser's message could quote a secret; where it stands is enough.
        let content = serde_json::from_slice(&text).map_err(|error| AuthStoreError::Json {
            path: path.into(),
            line: error.line(),
            column: error.column(),
        })?;
        Ok(Some(Self { path: path.into(), content }))
    }

    async fn get(&self, registry: &str, keys: &[String]) -> Result<Option<Credential>, AuthStoreError> {
        if let Some((name, server)) = self.helper(registry, keys)
            && let Some(credential) = helper::get(name, &server).await?
        {
            return Ok(Some(credential));
        }
        for key in keys {
            for (written, entry) in self.content.auths.iter().flatten() {
                if normalized(written) == key.as_str()
                    && let Some(credential) = self.entry(written, entry)?
                {
                    return Ok(Some(credential));
                }
            }
        }
        Ok(None)
    }

    /// The helper to ask, and what for.
    fn helper(&self, registry: &str, keys: &[String]) -> Option<(&str, String)> {
        let helpers = self.content.cred_helpers.as_ref();
        for key in keys {
            let found = helpers.and_then(|map| map.iter().find(|(written, _)| normalized(written) == *key));
            if let Some((written, name)) = found {
                return Some((name, written.clone()));
            }
        }
        let name = self.content.creds_store.as_deref().filter(|name| !name.is_empty())?;
        let hub = DOCKER_HUB_HOSTS.contains(&registry);
        Some((name, if hub { DOCKER_HUB_KEY.into() } else { registry.into() }))
    }

    fn entry(&self, key: &str, entry: &Entry) -> Result<Option<Credential>, AuthStoreError> {
        let given = |secret: &Option<Secret>| secret.clone().filter(|secret| !secret.expose().is_empty());
        if let Some(token) = given(&entry.identitytoken) {
            return Ok(Some(Credential::Identity(token)));
        }
        if let Some(token) = given(&entry.registrytoken) {
            return Ok(Some(Credential::RegistryToken(token)));
        }
        if let Some(auth) = given(&entry.auth) {
            let decoded = decode(auth.expose())
                .ok_or_else(|| AuthStoreError::Entry { path: self.path.clone(), key: key.to_owned() })?;
            return Ok(Some(decoded));
        }
        match (&entry.username, given(&entry.password)) {
            (Some(username), Some(password)) => {
                Ok(Some(Credential::Basic { username: username.clone(), password }))
            }
            // `docker login` with a helper leaves empty entries.
            _ => Ok(None),
        }
    }
}

fn decode(auth: &str) -> Option<Credential> {
    let text = auth.trim();
    let bytes = STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (username, password) = text.split_once(':')?;
    // Old versions of docker padded with zero bytes.
    let password = password.trim_end_matches('\0');
    Some(Credential::Basic { username: username.into(), password: password.into() })
}

/// The keys that hold for a repository, most specific first.
fn keys(registry: &str, repository: &str) -> Vec<String> {
    let hub = DOCKER_HUB_HOSTS.contains(&registry);
    let registry = if hub { DOCKER_HUB_HOSTS[0] } else { registry };
    let mut keys = Vec::new();
    let mut path = repository;
    while !path.is_empty() {
        keys.push(format!("{registry}/{path}"));
        path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
    keys.push(registry.to_owned());
    if hub {
        keys.extend(DOCKER_HUB_HOSTS[1..].iter().map(|&host| host.to_owned()));
    }
    keys
}

/// A key without the scheme and the API's path that old versions of docker wrote: `https://host/v1/` is `host`.
fn normalized(key: &str) -> &str {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    match bare {
        Some(url) => {
            let url = url.trim_end_matches('/');
            url.strip_suffix("/v1").or_else(|| url.strip_suffix("/v2")).unwrap_or(url)
        }
        None => key.trim_end_matches('/'),
    }
}

fn default_paths(uid: Option<u32>, variable: impl Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    let variable = |name: &str| variable(name).filter(|path| !path.as_os_str().is_empty());
    let home = variable("HOME");
    let config = variable("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
    let runtime = match variable("XDG_RUNTIME_DIR") {
        Some(path) => Some(path.join("containers")),
        // Where `podman login` writes as root.
        None => uid.map(|uid| PathBuf::from(format!("/run/containers/{uid}"))),
    };
    let docker = variable("DOCKER_CONFIG").or_else(|| home.as_ref().map(|home| home.join(".docker")));
    [
        variable("REGISTRY_AUTH_FILE"),
        runtime.map(|path| path.join("auth.json")),
        config.map(|path| path.join("containers/auth.json")),
        docker.map(|path| path.join("config.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(json: &str) -> (tempfile::TempDir, AuthStore) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        std::fs::write(&path, json).unwrap();
        let store = AuthStore::from_files(&[path]).unwrap();
        (directory, store)
    }

    fn get(store: &AuthStore, registry: &str, repository: &str) -> Option<Credential> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(store.get(registry, repository)).unwrap()
    }

    fn basic(username: &str, password: &str) -> Option<Credential> {
        Some(Credential::Basic { username: username.into(), password: password.into() })
    }

    #[test]
    fn the_longest_key_wins_and_no_other_host_gets_anything() {
        let (_keep, store) = store(
            r#"{"auths":{
                "quay.example":{"auth":"YTpi"},
                "quay.example/org":{"auth":"YzpkOmU="},
                "https://old.example/v1/":{"username":"u","password":"p"},
                "https://index.docker.io/v1/":{"auth":"aHViOng="},
                "empty.example":{}}}"#,
        );
        assert_eq!(get(&store, "quay.example", "x/y"), basic("a", "b"));
        assert_eq!(get(&store, "quay.example", "org/y"), basic("c", "d:e"));
        assert_eq!(get(&store, "quay.example", "organ/y"), basic("a", "b"));
        assert_eq!(get(&store, "old.example", "y"), basic("u", "p"));
        assert_eq!(get(&store, "docker.io", "library/busybox"), basic("hub", "x"));
        for other in ["quay.example:443", "sub.quay.example", "quay.example.evil", "example", "empty.example"]
        {
            assert_eq!(get(&store, other, "org/y"), None, "{other}");
        }
    }

    #[test]
    fn tokens_stand_before_passwords() {
        let (_keep, store) = store(
            r#"{"auths":{"a.example":{"auth":"YTpi","identitytoken":"id"},"b.example":{"registrytoken":"r"}}}"#,
        );
        assert_eq!(get(&store, "a.example", "x"), Some(Credential::Identity("id".into())));
        assert_eq!(get(&store, "b.example", "x"), Some(Credential::RegistryToken("r".into())));
    }

    #[test]
    fn a_given_credential_wins() {
        let (_keep, mut store) = store(r#"{"auths":{"a.example":{"auth":"YTpi"}}}"#);
        store.insert("a.example", Credential::Basic { username: "me".into(), password: "x".into() });
        assert_eq!(get(&store, "a.example", "x"), basic("me", "x"));
    }

    #[test]
    fn a_helper_stands_before_the_file() {
        let (_keep, store) = store(
            r#"{"auths":{"a.example":{"auth":"YTpi"}},"credHelpers":{"h.example":"one"},"credsStore":"two"}"#,
        );
        let file = &store.files[0];
        let asked = |registry: &str| file.helper(registry, &keys(registry, "x"));
        assert_eq!(asked("h.example"), Some(("one", "h.example".into())));
        assert_eq!(asked("a.example"), Some(("two", "a.example".into())));
        assert_eq!(asked("docker.io"), Some(("two", DOCKER_HUB_KEY.into())));
    }

    #[test]
    fn errors_and_debug_texts_show_no_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("auth.json");
        std::fs::write(&path, r#"{"auths":{"a":{"auth":"hunter2" oops"#).unwrap();
        let error = AuthStore::from_files(&[&path]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        std::fs::write(&path, r#"{"auths":{"a":{"auth":"!hunter2","password":"hunter2"}}}"#).unwrap();
        let store = AuthStore::from_files(&[&path]).unwrap();
        assert!(!format!("{store:?}").contains("hunter2"), "{store:?}");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let error = runtime.block_on(store.get("a", "x")).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }

    #[test]
    fn files_that_are_missing_or_empty_are_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let empty = directory.path().join("empty.json");
        std::fs::write(&empty, "\n").unwrap();
        let store = AuthStore::from_files(&[empty, directory.path().join("missing")]).unwrap();
        assert!(store.files.is_empty());
    }

    #[test]
    fn the_default_files_in_their_order() {
        let paths = default_paths(Some(7), |name| match name {
            "HOME" => Some("/h".into()),
            "XDG_RUNTIME_DIR" => Some("/r".into()),
            "XDG_CONFIG_HOME" => Some("".into()),
            "REGISTRY_AUTH_FILE" => Some("/a".into()),
            _ => None,
        });
        let paths: Vec<_> = paths.iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(
            paths,
            ["/a", "/r/containers/auth.json", "/h/.config/containers/auth.json", "/h/.docker/config.json"]
        );
        let bare = default_paths(Some(7), |_| None);
        assert_eq!(bare, [PathBuf::from("/run/containers/7/auth.json")]);
    }
}
