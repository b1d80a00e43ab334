//! Builds the helper, to be embedded.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::var_os("CARGO_FEATURE_EMBED").is_none() {
        return ExitCode::SUCCESS;
    }
    let helper =
        brig_embed::Program { package: "brig-linux-helper", binary: "brig-helper", profile: "helper" };
    match helper.build("BRIG_HELPER") {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

#[allow(clippy::print_stderr, reason = "this is how a build script says why it fails")]
fn report(error: &brig_embed::EmbedError) -> ExitCode {
    eprintln!("{error}");
    if let Some(source) = std::error::Error::source(error) {
        eprintln!("caused by: {source}");
    }
    ExitCode::FAILURE
}
