//! The guest's waits, cancelled when it is asked to stop: what shadows wasmtime-wasi's own.

use std::time::Duration;

use wasmtime::component::{Linker as ComponentLinker, Resource, ResourceTable};
use wasmtime::{Caller, Extern, Linker, Memory};
use wasmtime_wasi::p2::bindings::io::poll::{Host as _, HostPollable as _};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi::{WasiView, p0, p1};
use wiggle::GuestMemory;

use super::host::Host;
use super::stop::Stop;

/// `errno.success`.
const SUCCESS: i32 = 0;

/// `eventtype.clock`, also its tag in a subscription, and `subclockflags.subscription_clock_abstime`.
const CLOCK: u8 = 0;
const ABSOLUTE: u16 = 1;

/// The size of an event, and where its parts are: the same in both versions.
const EVENT_LEN: usize = 32;
const EVENT_KIND: usize = 10;

/// Where the parts of a subscription to a clock are; its user data comes first, and then its tag.
struct Layout {
    len: usize,
    timeout: usize,
    flags: usize,
}

/// The tag, in both versions.
const TAG: usize = 8;

/// `wasi_unstable`'s has an identifier before the clock.
const P0: Layout = Layout { len: 56, timeout: 32, flags: 48 };
const P1: Layout = Layout { len: 48, timeout: 24, flags: 40 };

/// `poll_oneoff` of `wasi_snapshot_preview1`.
pub(crate) fn poll_p1(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap_async("wasi_snapshot_preview1", "poll_oneoff", |mut caller, args: Args| {
        Box::new(async move {
            let memory = memory(&mut caller)?;
            let (bytes, host) = memory.data_and_store_mut(&mut caller);
            if let Some(code) = sleep(&P1, bytes, &host.stop, args) {
                return Ok(code);
            }
            let memory = &mut GuestMemory::Unshared(bytes);
            p1::wasi_snapshot_preview1::poll_oneoff(&mut host.wasi, memory, args.0, args.1, args.2, args.3)
                .await
        })
    })?;
    Ok(())
}

/// `poll_oneoff` of `wasi_unstable`.
pub(crate) fn poll_p0(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap_async("wasi_unstable", "poll_oneoff", |mut caller, args: Args| {
        Box::new(async move {
            let memory = memory(&mut caller)?;
            let (bytes, host) = memory.data_and_store_mut(&mut caller);
            if let Some(code) = sleep(&P0, bytes, &host.stop, args) {
                return Ok(code);
            }
            let memory = &mut GuestMemory::Unshared(bytes);
            p0::wasi_unstable::poll_oneoff(&mut host.wasi, memory, args.0, args.1, args.2, args.3).await
        })
    })?;
    Ok(())
}

/// Subscriptions, events, how many, and where to write how many happened.
type Args = (i32, i32, i32, i32);

fn memory(caller: &mut Caller<'_, Host>) -> wasmtime::Result<Memory> {
    let memory = caller.get_export("memory").and_then(Extern::into_memory);
    memory.ok_or_else(|| wasmtime::format_err!("the module exports no memory"))
}

/// Serves the one call that holds the thread: a sleep, for some time. `None` when it is another, or a wrong one.
fn sleep(layout: &Layout, bytes: &mut [u8], stop: &Stop, args: Args) -> Option<i32> {
    let subscription = part(bytes, args.0, layout.len)?;
    let flags = u16::from_le_bytes(field(subscription, layout.flags)?);
    if args.2 != 1 || subscription[TAG] != CLOCK || flags & ABSOLUTE != 0 {
        return None;
    }
    let user: [u8; 8] = field(subscription, 0)?;
    let time = Duration::from_nanos(u64::from_le_bytes(field(subscription, layout.timeout)?));
    part(bytes, args.3, 4)?;
    let event = part(bytes, args.1, EVENT_LEN)?;
    event.fill(0);
    event[..user.len()].copy_from_slice(&user);
    event[EVENT_KIND] = CLOCK;
    part(bytes, args.3, 4)?.copy_from_slice(&1u32.to_le_bytes());
    stop.sleep(time);
    Some(SUCCESS)
}

fn part(bytes: &mut [u8], pointer: i32, len: usize) -> Option<&mut [u8]> {
    bytes.get_mut(usize::try_from(pointer.cast_unsigned()).ok()?..)?.get_mut(..len)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// The version is wasmtime-wasi's own, as in every shadow of a component's import.
const MONOTONIC_CLOCK: &str = "wasi:clocks/monotonic-clock@0.2.12";
const POLL: &str = "wasi:io/poll@0.2.12";

/// The clocks and polls of components.
pub(crate) fn component(linker: &mut ComponentLinker<Host>) -> wasmtime::Result<()> {
    let mut clock = linker.instance(MONOTONIC_CLOCK)?;
    clock.func_wrap("subscribe-instant", |mut store, (when,): (u64,)| {
        let host: &mut Host = store.data_mut();
        let time = Duration::from_nanos(when.saturating_sub(host.now()?));
        Ok((host.subscribe(time)?,))
    })?;
    clock.func_wrap("subscribe-duration", |mut store, (nanos,): (u64,)| {
        let host: &mut Host = store.data_mut();
        Ok((host.subscribe(Duration::from_nanos(nanos))?,))
    })?;
    let mut poll = linker.instance(POLL)?;
    poll.func_wrap_async("[method]pollable.block", |mut store, (pollable,): (Resource<DynPollable>,)| {
        Box::new(async move {
            let host: &mut Host = store.data_mut();
            let stop = host.stop.clone();
            stop.alone(host.table().block(pollable)).await
        })
    })?;
    poll.func_wrap_async("poll", |mut store, (list,): (Vec<Resource<DynPollable>>,)| {
        Box::new(async move {
            let host: &mut Host = store.data_mut();
            let stop = host.stop.clone();
            let alone = list.len() == 1;
            let poll = host.table().poll(list);
            let ready = if alone { stop.alone(poll).await } else { poll.await };
            Ok((ready?,))
        })
    })
}

impl Host {
    fn table(&mut self) -> &mut ResourceTable {
        self.ctx().table
    }

    fn now(&mut self) -> wasmtime::Result<u64> {
        use wasmtime_wasi::clocks::WasiClocksView;
        wasmtime_wasi::p2::bindings::clocks::monotonic_clock::Host::now(&mut self.clocks())
    }

    fn subscribe(&mut self, time: Duration) -> wasmtime::Result<Resource<DynPollable>> {
        let until = tokio::time::Instant::now().checked_add(time);
        let timer = Timer { until, yields: time.is_zero(), stop: self.stop.clone() };
        let table = self.table();
        let timer = table.push(timer)?;
        subscribe(table, timer)
    }
}

/// The time that a component waits for.
struct Timer {
    /// `None` is later than the clock can say: never.
    until: Option<tokio::time::Instant>,
    /// Whether the time is over from the start, and nothing had its turn yet. Guests look at sockets with such a timer
    /// beside them: those have to be asked at all.
    yields: bool,
    stop: Stop,
}

#[wasmtime_wasi::async_trait]
impl Pollable for Timer {
    async fn ready(&mut self) {
        if std::mem::take(&mut self.yields) {
            tokio::task::yield_now().await;
        } else {
            self.stop.sleep_until(self.until).await;
        }
    }
}
