//! Against Debian's docker-registry, and with skopeo as the other client.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use brig_oci::{Descriptor, Document, Reference, media_type};
use brig_registry::{Client, Credential, Error};
use bytes::Bytes;

use crate::fake::{client, content, descriptor, drain, options};

struct Registry {
    child: Child,
    host: String,
    directory: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    /// A registry with a store of its own; `extra` is more of its configuration. `None` where it isn't installed.
    fn start(extra: impl Fn(&Path) -> String) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        // Given back at once; nobody else takes it in the moment between.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        drop(listener);
        let root = directory.path();
        let extra = extra(root);
        let (http, rest) = extra.split_once("---").unwrap_or((&extra, ""));
        let text = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: {host}\n{http}\n{rest}\n",
            root.join("data").display()
        );
        let config = root.join("config.yml");
        std::fs::write(&config, text).unwrap();
        let started = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = started else {
            eprintln!("skipped: docker-registry is not installed");
            return None;
        };
        let registry = Self { child, host, directory };
        for _ in 0..200 {
            if std::net::TcpStream::connect(&registry.host).is_ok() {
                return Some(registry);
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("docker-registry does not listen");
    }

    fn plain() -> Option<Self> {
        Self::start(|_| String::new())
    }

    fn reference(&self, rest: &str) -> Reference {
        format!("{}/{rest}", self.host).parse().unwrap()
    }
}

/// Runs a program; `None` where it isn't installed.
fn run(program: &str, arguments: &[&str]) -> Option<std::process::Output> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => Some(output),
        Err(_) => {
            eprintln!("skipped: {program} is not installed");
            None
        }
    }
}

fn image(config: &Descriptor, layers: &[Descriptor]) -> Document {
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": config,
        "layers": layers,
        "an unknown field": {"that": ["stays"]},
    });
    Document::parse(serde_json::to_vec_pretty(&manifest).unwrap(), None).unwrap()
}

/// Pushes an image of a config and two layers.
async fn push(client: &Client, reference: &Reference) -> (Document, Vec<Bytes>) {
    let config: Bytes =
        r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#.into();
    let blobs = vec![config, content(5_000_000), content(70_000)];
    let config = Descriptor::of(media_type::OCI_CONFIG, &blobs[0]);
    let layers: Vec<_> = blobs[1..].iter().map(|blob| Descriptor::of(media_type::OCI_LAYER, blob)).collect();
    for (descriptor, blob) in std::iter::once(&config).chain(&layers).zip(&blobs) {
        assert!(!client.has_blob(reference, descriptor).await.unwrap());
        client.push_blob(reference, descriptor, blob).await.unwrap();
        assert!(client.has_blob(reference, descriptor).await.unwrap());
    }
    let document = image(&config, &layers);
    client.push_manifest(reference, &document).await.unwrap();
    (document, blobs)
}

async fn pull(client: &Client, reference: &Reference) -> (Document, Vec<Bytes>) {
    let document = client.resolve(reference).await.unwrap();
    let mut blobs = Vec::new();
    for child in document.children() {
        let mut stream = client.blob(reference, child, 0).await.unwrap();
        let bytes = drain(&mut stream).await.unwrap();
        assert!(child.digest.matches(&bytes));
        blobs.push(bytes.into());
    }
    (document, blobs)
}

#[tokio::test]
async fn a_round_trip_byte_for_byte() {
    let Some(registry) = Registry::plain() else { return };
    let (client, reference) = (Client::new(options()), registry.reference("team/app:v1"));
    let pushed = push(&client, &reference).await;
    assert_eq!(pull(&client, &reference).await, pushed);
    let found = client.head(&reference).await.unwrap();
    assert_eq!(found, pushed.0.descriptor());
    assert_eq!(client.manifest(&reference, &found).await.unwrap(), pushed.0);
    let by_digest = reference.with_digest(found.digest);
    assert_eq!(client.resolve(&by_digest).await.unwrap(), pushed.0);
    assert_eq!(client.tags(&reference).await.unwrap(), ["v1"]);
    let layer = &pushed.0.manifest().unwrap().layers[0];
    let mut stream = client.blob(&reference, layer, 4_000_000).await.unwrap();
    assert!(stream.resumed());
    assert_eq!(drain(&mut stream).await.unwrap(), pushed.1[1][4_000_000..]);
    let copy = registry.reference("team/copy:v1");
    assert!(client.mount_blob(&copy, layer, &reference).await.unwrap());
    assert!(client.has_blob(&copy, layer).await.unwrap());
    let error = client.resolve(&registry.reference("team/app:v2")).await.unwrap_err();
    assert!(matches!(error, Error::ManifestNotFound { .. }), "{error}");
    assert!(matches!(client.tags(&registry.reference("none")).await, Err(Error::RepositoryNotFound { .. })));
    let missing = descriptor(b"missing");
    assert!(matches!(client.blob(&reference, &missing, 0).await, Err(Error::BlobNotFound { .. })));
}

#[tokio::test]
async fn chunks_are_taken() {
    let Some(registry) = Registry::plain() else { return };
    let mut options = options();
    options.chunk_size = Some(1_000_000);
    let (client, reference) = (Client::new(options), registry.reference("a"));
    let blob = content(3_500_000);
    client.push_blob(&reference, &descriptor(&blob), &blob).await.unwrap();
    let mut stream = client.blob(&reference, &descriptor(&blob), 0).await.unwrap();
    assert!(drain(&mut stream).await.unwrap() == blob);
}

#[tokio::test]
async fn wrong_content_is_refused_by_the_registry() {
    let Some(registry) = Registry::plain() else { return };
    let (client, reference) = (Client::new(options()), registry.reference("a:t"));
    let claimed = Descriptor::new("x", descriptor(b"other").digest, 5);
    let error = client.push_blob(&reference, &claimed, &Bytes::from_static(b"hello")).await.unwrap_err();
    assert!(
        matches!(&error, Error::Refused { status: 400, message, .. } if message.contains("DIGEST_INVALID")),
        "{error}"
    );
    let document = image(&descriptor(b"not there"), &[]);
    let error = client.push_manifest(&reference, &document).await.unwrap_err();
    assert!(matches!(&error, Error::Refused { message, .. } if message.contains("UNKNOWN")), "{error}");
}

#[tokio::test]
async fn a_password_file_is_answered() {
    // `user` and `pass` by bcrypt, the only kind that the registry takes.
    let line = "user:$2b$05$abcdefghijklmnopqrstuuZFBUbfXoM8LFiPx8LYlO/sXZB/Cwk3K\n";
    let Some(registry) = Registry::start(|root| {
        let path = root.join("htpasswd");
        std::fs::write(&path, line).unwrap();
        format!("---auth:\n  htpasswd:\n    realm: here\n    path: {}\n", path.display())
    }) else {
        return;
    };
    let with_password = |password: &str| {
        let mut options = options();
        options
            .auth
            .insert(&registry.host, Credential::Basic { username: "user".into(), password: password.into() });
        Client::new(options)
    };
    let reference = registry.reference("a:t");
    let pushed = push(&with_password("pass"), &reference).await;
    assert_eq!(pull(&with_password("pass"), &reference).await, pushed);
    let error = with_password("wrong").resolve(&reference).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { tried: true, .. }), "{error}");
    let error = client().resolve(&reference).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { tried: false, .. }), "{error}");
}

#[tokio::test]
async fn certificates_are_verified() {
    let Some(registry) = Registry::start(|root| {
        let (key, cert) = (root.join("key.pem"), root.join("cert.pem"));
        let made = run(
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=brig test",
                "-addext",
                "subjectAltName=IP:127.0.0.1",
                "-keyout",
                key.to_str().unwrap(),
                "-out",
                cert.to_str().unwrap(),
            ],
        );
        match made.is_some_and(|made| made.status.success()) {
            true => format!("  tls:\n    certificate: {}\n    key: {}\n", cert.display(), key.display()),
            false => String::new(),
        }
    }) else {
        return;
    };
    let certificate = registry.directory.path().join("cert.pem");
    if !certificate.exists() {
        eprintln!("skipped: openssl is not installed");
        return;
    }
    let reference = registry.reference("a:t");
    // This machine is trusted without a certificate.
    let pushed = push(&Client::new(options()), &reference).await;
    let mut strict = options();
    strict.insecure_loopback = false;
    let error = Client::new(strict.clone()).resolve(&reference).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    let directory = registry.directory.path().join("certs.d").join(&registry.host);
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::copy(&certificate, directory.join("ca.crt")).unwrap();
    strict.certs_dirs = vec![registry.directory.path().join("certs.d")];
    assert_eq!(pull(&Client::new(strict.clone()), &reference).await, pushed);
    std::fs::write(directory.join("client.cert"), "not a certificate").unwrap();
    let error = Client::new(strict).resolve(&reference).await.unwrap_err();
    assert!(matches!(error, Error::Certificate { .. }), "{error:?}");
    assert!(rustls::crypto::CryptoProvider::get_default().is_none(), "the process's default was touched");
}

/// What the test below runs in a process of its own: `SSL_CERT_FILE` is of a whole process.
#[tokio::test]
async fn child_that_trusts_a_file() {
    let Ok(reference) = std::env::var("BRIG_TEST_REFERENCE") else { return };
    let mut strict = options();
    strict.insecure_loopback = false;
    let error = Client::new(strict).resolve(&reference.parse().unwrap()).await.unwrap_err();
    let text = match &error {
        Error::Tls { source, .. } => format!("tls: {source}"),
        Error::ManifestNotFound { .. } | Error::RepositoryNotFound { .. } => "connected".to_owned(),
        other => format!("{other:?}"),
    };
    println!("child says: {text}");
}

/// An authority, and a certificate for 127.0.0.1 that it signed.
fn make_certificates(root: &Path) -> bool {
    let script = "set -e; cd \"$1\"
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=brig test CA' -keyout ca.key -out ca.pem
        openssl req -newkey rsa:2048 -nodes -subj '/CN=127.0.0.1' -keyout key.pem -out leaf.csr
        printf 'subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n' > leaf.ext
        openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile leaf.ext -out cert.pem";
    let made = run("sh", &["-c", script, "sh", root.to_str().unwrap()]);
    made.is_some_and(|made| made.status.success())
}

#[tokio::test]
async fn the_systems_authorities_can_be_a_file() {
    let Some(registry) = Registry::start(|root| match make_certificates(root) {
        true => {
            let path = root.display();
            format!("  tls:\n    certificate: {path}/cert.pem\n    key: {path}/key.pem\n")
        }
        false => String::new(),
    }) else {
        return;
    };
    let authority = registry.directory.path().join("ca.pem");
    if !authority.exists() {
        eprintln!("skipped: openssl is not installed");
        return;
    }
    let child = |file: Option<&Path>| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "debian::child_that_trusts_a_file", "--nocapture"]);
        command.env("BRIG_TEST_REFERENCE", registry.reference("a:t").to_string());
        command.env_remove("SSL_CERT_DIR").env_remove("SSL_CERT_FILE");
        command.envs(file.map(|file| ("SSL_CERT_FILE", file)));
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let (trusting, other) = (child(Some(&authority)), child(None));
    assert!(trusting.contains("child says: connected"), "{trusting}");
    assert!(other.contains("child says: tls: "), "{other}");
}

#[tokio::test]
async fn skopeo_reads_what_was_pushed_and_the_other_way_round() {
    let Some(registry) = Registry::plain() else { return };
    let client = Client::new(options());
    let reference = registry.reference("app:v1");
    let (document, _) = push(&client, &reference).await;
    let layout = registry.directory.path().join("layout");
    let source = format!("docker://{reference}");
    let target = format!("oci:{}:v1", layout.display());
    let Some(copied) =
        run("skopeo", &["copy", "--preserve-digests", "--src-tls-verify=false", &source, &target])
    else {
        return;
    };
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    let again = registry.reference("again:v1");
    let copied = run(
        "skopeo",
        &["copy", "--preserve-digests", "--dest-tls-verify=false", &target, &format!("docker://{again}")],
    )
    .unwrap();
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    assert_eq!(client.resolve(&again).await.unwrap().raw(), document.raw());
}
