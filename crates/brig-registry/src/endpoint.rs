//! Where a registry is, and whether it is spoken to over TLS.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::{Method, Response, StatusCode, Url};
use tokio::sync::OnceCell;

use crate::auth::Session;
use crate::client::ClientOptions;
use crate::error::{Error, Subject};
use crate::exchange::Wire;
use crate::redact;

/// One registry: its base URL, found out once, and the state of its authentication.
#[derive(Debug)]
pub(crate) struct Endpoint {
    registry: String,
    host: String,
    insecure: bool,
    insecure_by_name: bool,
    base: OnceCell<Url>,
    pub(crate) session: Session,
    /// Whether it has ever answered: then a refused connection is a hiccup, otherwise most likely a wrong address.
    answered: AtomicBool,
}

impl Endpoint {
    pub(crate) fn new(registry: &str, options: &ClientOptions) -> Self {
        let host = match registry {
            // The name that people write isn't where the registry is.
            brig_oci::reference::DEFAULT_REGISTRY => "registry-1.docker.io",
            other => other,
        };
        Self {
            registry: registry.to_owned(),
            host: host.to_owned(),
            insecure: is_insecure(options, host),
            insecure_by_name: is_named(options, host),
            base: OnceCell::new(),
            session: Session::default(),
            answered: AtomicBool::new(false),
        }
    }

    /// The name in references.
    pub(crate) fn registry(&self) -> &str {
        &self.registry
    }

    /// The host that is connected to.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    pub(crate) fn note_answer(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// The base URL. HTTPS, and for insecure registries HTTP where HTTPS isn't answered.
    pub(crate) async fn base(&self, wire: &Wire, subject: &Subject) -> Result<&Url, Error> {
        self.base.get_or_try_init(|| self.find(wire, subject)).await
    }

    async fn find(&self, wire: &Wire, subject: &Subject) -> Result<Url, Error> {
        let secure = self.url("https", subject)?;
        // Who installs certificates for a registry on this machine wants them looked at.
        let certain = !self.insecure_by_name && wire.has_certificates(&self.host);
        if !self.insecure || certain {
            return Ok(secure);
        }
        match self.probe(wire, subject, &secure).await {
            Ok(()) => return Ok(secure),
            // Somebody speaks TLS there, so plain HTTP would only hide what is wrong with it.
            Err(Error::Tls { source, reference, host }) if source.speaks_tls() => {
                return Err(Error::Tls { source, reference, host });
            }
            Err(error @ Error::Certificate { .. }) => return Err(error),
            Err(_) => {}
        }
        let plain = self.url("http", subject)?;
        self.probe(wire, subject, &plain).await?;
        Ok(plain)
    }

    fn url(&self, scheme: &str, subject: &Subject) -> Result<Url, Error> {
        let host = || Error::Host { reference: subject.reference.clone(), host: self.host.clone() };
        let url = Url::parse(&format!("{scheme}://{}/", self.host)).map_err(|_| host())?;
        // Nothing but a host may have come out of it.
        if url.path() != "/" || !url.username().is_empty() || url.query().is_some() {
            return Err(host());
        }
        Ok(url)
    }

    /// Any answer will do; one with a challenge spares a round trip later.
    async fn probe(&self, wire: &Wire, subject: &Subject, base: &Url) -> Result<(), Error> {
        let url = base.join("v2/").map_err(|_| subject.protocol("its address is not a base URL"))?;
        let response = wire.once(subject, reqwest::Request::new(Method::GET, url)).await?;
        self.note_answer();
        self.learn_early(subject, &response).await
    }

    async fn learn_early(&self, subject: &Subject, response: &Response) -> Result<(), Error> {
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(());
        }
        match self.session.learn(subject, response).await {
            // The request that is really wanted may be open to all; if not, it says so itself.
            Ok(_) | Err(Error::Challenge { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Whether a registry may be spoken to without a verified certificate, or over plain HTTP.
pub(crate) fn is_insecure(options: &ClientOptions, host: &str) -> bool {
    let local = || Url::parse(&format!("http://{host}/")).is_ok_and(|url| is_loopback(&url));
    is_named(options, host) || (options.insecure_loopback && local())
}

fn is_named(options: &ClientOptions, host: &str) -> bool {
    options.insecure_registries.iter().any(|named| named.eq_ignore_ascii_case(host))
}

/// Whether a URL's host is this machine itself: `localhost`, 127.0.0.0/8, ::1, or the address that is none. The URL's
/// parser has brought the many spellings of addresses into one.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    if host.trim_end_matches('.').eq_ignore_ascii_case("localhost") {
        return true;
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    // `::ffff:127.0.0.1` is 127.0.0.1, and Linux connects to itself where the address is `0.0.0.0` or `::`.
    bare.parse::<IpAddr>().is_ok_and(|address| {
        let address = address.to_canonical();
        address.is_loopback() || address.is_unspecified()
    })
}

/// Whether two URLs have the same host; ports may differ.
pub(crate) fn same_host(one: &Url, other: &Url) -> bool {
    one.host_str().is_some() && one.host_str() == other.host_str()
}

/// Whether two URLs have the same scheme, host and port: what credentials are bound to.
pub(crate) fn same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && same_host(one, other)
        && one.port_or_known_default() == other.port_or_known_default()
}

/// Where `location`, as answered to a request for `from`, leads; checked, and without a step down from TLS.
pub(crate) fn follow(subject: &Subject, from: &Url, location: &str) -> Result<Url, Error> {
    let shown = || redact::line(location.split(['?', '#']).next().unwrap_or_default(), 200);
    let mut url = from.join(location).map_err(|_| subject.redirect(shown(), "it is not a URL"))?;
    let refuse = |url: &Url, problem| Err(subject.redirect(redact::url(url), problem));
    if !matches!(url.scheme(), "https" | "http") {
        return refuse(&url, "it is neither HTTPS nor HTTP");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse(&url, "it carries a user name");
    }
    if is_loopback(&url) && !is_loopback(from) {
        return refuse(&url, "it is this machine, and the registry is not");
    }
    if from.scheme() == "https" && url.scheme() == "http" {
        // A registry behind a proxy that ends TLS often doesn't know that it is behind one.
        let same = same_host(from, &url) && (url.port().is_none() || url.port() == from.port());
        let port = from.port();
        if !same || url.set_scheme("https").is_err() || url.set_port(port).is_err() {
            return refuse(&url, "it is plain HTTP, and the registry is not");
        }
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn loopback_in_every_spelling() {
        for yes in [
            "http://[::ffff:127.0.0.1]/x",
            "http://0/x",
            "http://[::]",
            "http://localhost./x",
            "http://localhost:5000",
            "http://127.0.0.1",
            "http://127.9.9.9:1",
            "http://[::1]:5000",
            "http://127.1",
        ] {
            assert!(is_loopback(&url(yes)), "{yes}");
        }
        for no in ["http://localhost.example", "http://127.0.0.1.example", "http://128.0.0.1", "http://[::2]"]
        {
            assert!(!is_loopback(&url(no)), "{no}");
        }
    }

    #[test]
    fn insecure_is_by_name_and_loopback_by_default() {
        let mut options = ClientOptions::default();
        options.insecure_registries.push("plain.example:5000".into());
        assert!(is_insecure(&options, "plain.example:5000"));
        assert!(!is_insecure(&options, "plain.example"));
        assert!(is_insecure(&options, "127.0.0.1:5000"));
        options.insecure_loopback = false;
        assert!(!is_insecure(&options, "127.0.0.1:5000"));
    }

    #[test]
    fn docker_io_is_somewhere_else() {
        let endpoint = Endpoint::new("docker.io", &ClientOptions::default());
        assert_eq!((endpoint.registry(), endpoint.host()), ("docker.io", "registry-1.docker.io"));
    }

    #[test]
    fn locations_never_step_down_from_tls() {
        let subject = Subject { reference: "r".into(), host: "h".into() };
        let from = url("https://r.example:8443/v2/a/blobs/uploads/");
        let to = |location: &str| follow(&subject, &from, location).map(|url| url.to_string()).ok();
        assert_eq!(to("/v2/x?s=1").as_deref(), Some("https://r.example:8443/v2/x?s=1"));
        assert_eq!(to("https://cdn.example/x").as_deref(), Some("https://cdn.example/x"));
        assert_eq!(to("http://r.example/v2/x").as_deref(), Some("https://r.example:8443/v2/x"));
        assert_eq!(to("http://r.example:8443/x").as_deref(), Some("https://r.example:8443/x"));
        for refused in [
            "http://cdn.example/x",
            "http://r.example:80801/x",
            "http://r.example:81/x",
            "file:///etc/passwd",
            "https://localhost/x",
            "https://127.1:6443/x",
            "https://[::1]/x",
            "https://u:p@r.example/x",
        ] {
            assert_eq!(to(refused), None, "{refused}");
        }
        let plain = url("http://127.0.0.1:5000/v2/");
        assert!(follow(&subject, &plain, "http://127.0.0.1:6000/x").is_ok());
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert!(same_origin(&url("https://a.example/x"), &url("https://a.example:443/y")));
        for other in
            ["http://a.example", "https://a.example:444", "https://b.a.example", "https://a.example.b"]
        {
            assert!(!same_origin(&url("https://a.example"), &url(other)), "{other}");
        }
    }
}
