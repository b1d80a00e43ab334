//! Who may ask: nobody in particular, holders of a password, or holders of a token.

use std::collections::HashMap;

use axum::body::Bytes;
use base64::Engine as _;
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::json;

use super::answer::Answer;
use super::route::{Route, parameter, parameters};
use super::{Shared, lock};

/// What a registry asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Nothing.
    #[default]
    Anonymous,
    /// A user's name and password with every request (RFC 7617).
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A token from the registry's own `/token` for the repository and action at hand.
    Bearer {
        /// Whom the token service gives tokens to: a name and a password (or, as an identity token, the password
        /// alone); anybody without them.
        credentials: Option<(String, String)>,
    },
}

impl Auth {
    /// [`Self::Basic`].
    pub fn basic(user: &str, password: &str) -> Self {
        Self::Basic { user: user.into(), password: password.into() }
    }

    /// [`Self::Bearer`] for one user.
    pub fn bearer(user: &str, password: &str) -> Self {
        Self::Bearer { credentials: Some((user.into(), password.into())) }
    }

    /// [`Self::Bearer`] for anybody, as Docker Hub does for public images.
    pub fn bearer_for_anybody() -> Self {
        Self::Bearer { credentials: None }
    }
}

/// Tokens given out, and what each allows.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    scopes: HashMap<String, Vec<String>>,
    next: u64,
}

/// The refusal of a request that may not be made; `None` for one that may.
pub(super) fn refuse(shared: &Shared, method: &Method, route: &Route, headers: &HeaderMap) -> Option<Answer> {
    if *route == Route::Token {
        return None;
    }
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match &shared.auth {
        Auth::Anonymous => None,
        Auth::Basic { user, password } => {
            let allowed = given == Some(&basic(user, password));
            (!allowed).then(|| unauthorized("Basic realm=\"tests\""))
        }
        Auth::Bearer { .. } => {
            let action = if matches!(*method, Method::GET | Method::HEAD) { "pull" } else { "push" };
            let token = given.and_then(|given| given.strip_prefix("Bearer "));
            let allowed = token.is_some_and(|token| allows(shared, token, route.repository(), action));
            (!allowed).then(|| unauthorized(&challenge(shared, route.repository(), action)))
        }
    }
}

/// Answers the token service: `GET` with basic credentials, or `POST` with a form (docker's OAuth2 endpoint).
pub(super) fn token(shared: &Shared, headers: &HeaderMap, query: &str, body: &Bytes) -> Answer {
    let form = String::from_utf8_lossy(body);
    if !may_have_token(&shared.auth, headers, &form) {
        return unauthorized("Basic realm=\"tokens\"");
    }
    let mut scopes = parameters(query, "scope");
    scopes.extend(parameters(&form, "scope"));
    let scopes = scopes.iter().flat_map(|scopes| scopes.split(' ')).map(String::from).collect();
    let mut tokens = lock(&shared.tokens);
    tokens.next += 1;
    let token = format!("token-{}", tokens.next);
    tokens.scopes.insert(token.clone(), scopes);
    Answer::json(&json!({ "token": token, "access_token": token, "expires_in": 300 }))
}

fn may_have_token(auth: &Auth, headers: &HeaderMap, form: &str) -> bool {
    let Auth::Bearer { credentials } = auth else { return false };
    let Some((user, password)) = credentials else { return true };
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    given == Some(&basic(user, password))
        || parameter(form, "refresh_token").as_ref() == Some(password)
        || (parameter(form, "username").as_ref() == Some(user)
            && parameter(form, "password").as_ref() == Some(password))
}

fn allows(shared: &Shared, token: &str, repository: Option<&str>, action: &str) -> bool {
    let tokens = lock(&shared.tokens);
    let Some(scopes) = tokens.scopes.get(token) else { return false };
    let Some(repository) = repository else { return true };
    scopes.iter().any(|scope| {
        let actions = scope.strip_prefix("repository:").and_then(|rest| rest.strip_prefix(repository));
        let actions = actions.and_then(|rest| rest.strip_prefix(':'));
        actions.is_some_and(|actions| actions.split(',').any(|given| given == action))
    })
}

fn challenge(shared: &Shared, repository: Option<&str>, action: &str) -> String {
    let host = &shared.host;
    let mut challenge = format!("Bearer realm=\"http://{host}/token\",service=\"{host}\"");
    if let Some(repository) = repository {
        let actions = if action == "push" { "pull,push" } else { "pull" };
        challenge.push_str(&format!(",scope=\"repository:{repository}:{actions}\""));
    }
    challenge
}

fn basic(user: &str, password: &str) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {encoded}")
}

fn unauthorized(challenge: &str) -> Answer {
    Answer::error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required")
        .header(header::WWW_AUTHENTICATE, challenge)
}
