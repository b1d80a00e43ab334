//! Where the supervisor does for a new process what that may not do itself.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use brig_runtime::hooks::{self, Hooks};
use brig_runtime::notify::{self, Listener};
use brig_runtime::plan::{ListenerPlan, PayloadPlan};
use brig_runtime::protocol::StepError;
use rustix::io::Errno;

use super::failure::{Failure, On, Step};
use super::wire::{self, Asked};
use super::{Owner, net_devices, write_maps};

/// What the supervisor has at hand for a process.
pub(super) struct Desk<'a, 'o> {
    plan: &'a PayloadPlan,
    listener: Option<Listener<'a>>,
    owner: Option<&'o mut dyn Owner>,
}

impl<'a, 'o> Desk<'a, 'o> {
    /// For a process of a plan.
    pub(super) fn new(plan: &'a PayloadPlan, owner: Option<&'o mut dyn Owner>) -> Self {
        Self { plan, listener: None, owner }
    }

    /// With a connection to whoever answers for its system calls. It is the payload itself, or another process beside
    /// the one of this pid.
    pub(super) fn listening(self, payload: Option<i32>) -> Result<Self, StepError> {
        let connect = |listener: &'a ListenerPlan| Listener::connect(listener, payload).on(&listener.path);
        let listener = self.plan.process.listener.as_ref().map(connect).transpose();
        Ok(Self { listener: listener.step("connect to the seccomp listener")?, ..self })
    }

    /// Does what the process of this pid asks for, and tells it so.
    pub(super) fn answer(
        &mut self,
        to: BorrowedFd<'_>,
        asked: Asked,
        pid: i32,
        terminal: &mut Option<OwnedFd>,
    ) -> Result<(), StepError> {
        match asked {
            Asked::MapIds => {
                let maps = self.plan.user_namespace.as_ref();
                let maps = maps.ok_or(Errno::PROTO).step("hear the new process")?;
                write_maps(pid, maps).step("map ids")?;
            }
            Asked::NetDevices => {
                net_devices::give(&self.plan.net_devices, pid).step("move the network device")?;
            }
            Asked::Hooks => run_hooks(&self.plan.hooks, pid).step("run hooks")?,
            Asked::Ready => {
                if let Some(owner) = &mut self.owner {
                    owner.ready(pid, terminal.take())?;
                }
            }
            Asked::Listener(filter) => return self.hand_over(to, filter, pid),
            Asked::ListenerNumber(number) => {
                let filter = notify::take(pid, number).step("take the seccomp listener")?;
                return self.hand_over(to, filter, pid);
            }
        }
        wire::answer(to, pid).step("answer the new process")
    }

    /// The process goes on before its filter's listener has been read: whoever reads it may have to answer already.
    fn hand_over(&mut self, to: BorrowedFd<'_>, filter: OwnedFd, pid: i32) -> Result<(), StepError> {
        let listener = self.listener.take().ok_or(Errno::PROTO).step("hear the new process")?;
        wire::answer(to, pid).step("answer the new process")?;
        listener.send(pid, filter.as_fd()).step("hand the seccomp listener over")
    }
}

/// The hooks in this process's namespaces.
fn run_hooks(hooks: &Hooks, pid: i32) -> Result<(), Failure> {
    for (status, hooks_of) in [("created", &hooks.prestart), ("creating", &hooks.create_runtime)] {
        let state = hooks.about.state(status, Some(pid));
        for hook in hooks_of {
            hooks::run(hook, &hooks.about.bundle, &state)?;
        }
    }
    Ok(())
}
