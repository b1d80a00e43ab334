//! Paths of the distribution API. Repository names hold slashes, so a path is read from both ends.

/// What a path names (distribution-spec, "Endpoints").
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `/v2/`
    Base,
    /// The token service of [`super::Auth::Bearer`].
    Token,
    /// `/v2/<name>/tags/list`
    Tags(String),
    /// `/v2/<name>/manifests/<tag or digest>`
    Manifest(String, String),
    /// `/v2/<name>/blobs/<digest>`
    Blob(String, String),
    /// `/v2/<name>/blobs/uploads/`
    Uploads(String),
    /// `/v2/<name>/blobs/uploads/<id>`
    Upload(String, String),
}

impl Route {
    pub(super) fn parse(path: &str) -> Option<Self> {
        if path == "/token" {
            return Some(Self::Token);
        }
        let rest = path.strip_prefix("/v2")?.trim_start_matches('/');
        if rest.is_empty() {
            return Some(Self::Base);
        }
        let parts: Vec<&str> = rest.split('/').collect();
        let name = |ends: usize| parts[..parts.len() - ends].join("/");
        match parts.as_slice() {
            [_, .., "tags", "list"] => Some(Self::Tags(name(2))),
            [_, .., "blobs", "uploads"] => Some(Self::Uploads(name(2))),
            [_, .., "blobs", "uploads", ""] => Some(Self::Uploads(name(3))),
            [_, .., "blobs", "uploads", id] => Some(Self::Upload(name(3), (*id).into())),
            [_, .., "blobs", digest] => Some(Self::Blob(name(2), (*digest).into())),
            [_, .., "manifests", reference] => Some(Self::Manifest(name(2), (*reference).into())),
            _ => None,
        }
    }

    /// The repository, where there is one.
    pub(super) fn repository(&self) -> Option<&str> {
        match self {
            Self::Base | Self::Token => None,
            Self::Tags(name) | Self::Uploads(name) => Some(name),
            Self::Manifest(name, _) | Self::Blob(name, _) | Self::Upload(name, _) => Some(name),
        }
    }
}

/// The value of a parameter of a query, decoded.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    parameters(query, name).into_iter().next()
}

/// All values of a parameter, decoded: `scope` may be there more than once.
pub(super) fn parameters(query: &str, name: &str) -> Vec<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| decode(value)).collect()
}

/// Undoes percent encoding. What isn't encoding stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (first, escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(*first),
        }
        rest = tail;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_names_may_hold_slashes() {
        let blob = Route::parse("/v2/a/b/c/blobs/sha256:00");
        assert_eq!(blob, Some(Route::Blob("a/b/c".into(), "sha256:00".into())));
        assert_eq!(Route::parse("/v2/a/blobs/uploads/"), Some(Route::Uploads("a".into())));
        assert_eq!(Route::parse("/v2/a/blobs/uploads/x"), Some(Route::Upload("a".into(), "x".into())));
        assert_eq!(Route::parse("/v2/"), Some(Route::Base));
        assert_eq!(Route::parse("/v2/manifests/latest"), None);
        assert_eq!(Route::parse("/v1/a/tags/list"), None);
    }

    #[test]
    fn queries_are_decoded() {
        let query = "mount=sha256%3A00&from=a%2Fb&from=c+d&odd=%zz";
        assert_eq!(parameter(query, "mount").as_deref(), Some("sha256:00"));
        assert_eq!(parameters(query, "from"), ["a/b", "c d"]);
        assert_eq!(parameter(query, "odd").as_deref(), Some("%zz"));
        assert_eq!(parameter(query, "none"), None);
    }
}
