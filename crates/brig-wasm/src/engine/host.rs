//! What one guest has on the host's side: its WASI context, built from nothing but the grants of its request.

use std::time::{Duration, Instant, SystemTime};

use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{
    FsPerms, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView,
};

use super::ending::Failure;
use super::limiter::Limiter;
use super::stdio::{Output, Stdin};
use super::stop::Stop;
use crate::request::{COARSE_CLOCK_NANOS, Preopen, RunRequest};

/// The state of a store.
pub(crate) struct Host {
    pub(crate) wasi: WasiP1Ctx,
    pub(crate) limiter: Limiter,
    pub(crate) stop: Stop,
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

impl Host {
    /// With the standard streams of this process and the grants of the request.
    pub(crate) fn new(request: &RunRequest, stop: Stop) -> Result<Self, Failure> {
        let mut builder = WasiCtx::builder();
        // There is one guest in this process, and its thread may wait.
        builder.allow_blocking_current_thread(true);
        builder.args(&request.args);
        for variable in &request.env {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            builder.env(name, value);
        }
        if let Some(cwd) = &request.cwd {
            builder.initial_cwd(cwd);
        }
        streams(&mut builder, request, &stop).map_err(|source| Failure::Stdio { source })?;
        for directory in &request.preopens {
            preopen(&mut builder, directory)?;
        }
        builder.allow_tcp(request.network).allow_udp(request.network).allow_ip_name_lookup(request.network);
        if request.network {
            builder.inherit_network();
        }
        if !request.precise_clocks {
            builder.monotonic_clock(CoarseMonotonic::new()).wall_clock(CoarseWall);
        }
        Ok(Self { wasi: builder.build_p1(), limiter: Limiter::new(request.memory), stop })
    }
}

fn streams(builder: &mut WasiCtxBuilder, request: &RunRequest, stop: &Stop) -> std::io::Result<()> {
    builder
        .stdin(Stdin::inherit(!request.network, stop)?)
        .stdout(Output::stdout()?)
        .stderr(Output::stderr()?);
    Ok(())
}

fn preopen(builder: &mut WasiCtxBuilder, directory: &Preopen) -> Result<(), Failure> {
    let perms = if directory.read_only { FsPerms::ReadOnly } else { FsPerms::ReadWrite };
    match builder.preopened_dir(&directory.host, &directory.guest, perms) {
        Ok(_) => Ok(()),
        Err(source) => Err(Failure::Preopen { guest: directory.guest.clone(), source }),
    }
}

/// Clocks without a grant, rounded down to [`COARSE_CLOCK_NANOS`].
pub(crate) struct CoarseMonotonic {
    start: Instant,
}

/// The same for the time of the day.
pub(crate) struct CoarseWall;

impl CoarseMonotonic {
    /// Begins at 0.
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl HostMonotonicClock for CoarseMonotonic {
    fn resolution(&self) -> u64 {
        COARSE_CLOCK_NANOS
    }

    fn now(&self) -> u64 {
        // 584 years of nanoseconds fit.
        coarse(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

impl HostWallClock for CoarseWall {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(COARSE_CLOCK_NANOS)
    }

    fn now(&self) -> Duration {
        // Before 1970 there is nothing to tell.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Duration::from_nanos(coarse(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)))
    }
}

fn coarse(nanos: u64) -> u64 {
    nanos - nanos % COARSE_CLOCK_NANOS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_without_a_grant_step() {
        let clock = CoarseMonotonic::new();
        std::thread::sleep(Duration::from_millis(1));
        assert!(clock.now() >= 1_000_000 && clock.now().is_multiple_of(COARSE_CLOCK_NANOS));
        assert_eq!(CoarseWall.now().as_nanos() % u128::from(COARSE_CLOCK_NANOS), 0);
    }
}
