//! Other limits for a container that is there: at once where it runs, and in its record for the next start.

use std::path::PathBuf;

use brig_linux::{plan_update, set_limits};
use brig_runtime::limits::Machine;
use brig_runtime::{ContainerSpec, Event, LimitChanges, Limits, RestartPolicy, State};
use serde::Deserialize;

use super::change::Written;
use super::find::ContainerInfo;
use crate::blocking::Engine;
use crate::error::{Error, Result};

impl Engine {
    /// Changes limits of a container: of its cgroups, if it runs, and in its record; and its restart policy. A failure
    /// changes nothing.
    ///
    /// The linear memories of a wasm container that runs keep the sum that they had at the start.
    pub fn update(&self, name: &str, changes: &LimitChanges, restart: Option<RestartPolicy>) -> Result<()> {
        let container = self.container(name)?;
        self.edit_spec(&container.spec.id, |container, spec| {
            // Its cgroups are about to be made anew.
            if container.state.state == State::Restarting {
                return Err(container.wrong_state("update"));
            }
            let limits = changes.apply(&spec.limits);
            limits.check(&Machine::look())?;
            if let Some(policy) = restart {
                super::create::check_restart(policy, spec.auto_remove)?;
                spec.restart = policy;
            }
            with_limits(spec, &limits)?;
            let cgroups = container.state.state.is_active().then_some(container.state.cgroups.as_slice());
            self.update_cgroups(container, &limits, cgroups)
        })?;
        let spec = &container.spec;
        let event = Event::container("update", &spec.id).with("name", &spec.name);
        self.record_event(&event.with("image", &spec.image.reference))
    }

    fn update_cgroups(
        &self,
        container: &ContainerInfo,
        limits: &Limits,
        cgroups: Option<&[PathBuf]>,
    ) -> Result<Written> {
        let spec = &container.spec;
        let now = plan_update(&spec.limits, limits, self.host(), &spec.id, cgroups)
            .map_err(brig_linux::Error::from)?;
        let before = now.apply().map_err(|source| Error::Update { name: spec.name.clone(), source })?;
        Ok(Written { now, before })
    }
}

fn with_limits(spec: &mut ContainerSpec, limits: &Limits) -> Result<()> {
    spec.limits = limits.clone();
    if let Some(document) = &spec.linux {
        let damaged = |error: serde_json::Error| {
            Error::invalid("record of container", spec.id.clone(), error.to_string())
        };
        let mut oci = oci_spec::runtime::Spec::deserialize(document).map_err(damaged)?;
        set_limits(&mut oci, limits);
        spec.linux = Some(serde_json::to_value(&oci).map_err(damaged)?);
    }
    Ok(())
}
