//! Verbs that change a container without ending it: `rename`, `pause`, `unpause`, and the record's own edits.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use brig_linux::CgroupUpdate;
use brig_runtime::client::ClientError;
use brig_runtime::{ContainerSpec, Event};

use super::find::ContainerInfo;
use super::life::client_error;
use crate::blocking::Engine;
use crate::error::{Error, Result};
use crate::names;

/// Files of a container's cgroups that were written: what they say now, and what they said before.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) now: CgroupUpdate,
    pub(super) before: CgroupUpdate,
}

impl Engine {
    /// Gives a container another name.
    pub fn rename(&self, name: &str, new: &str) -> Result<()> {
        names::check(new)?;
        let container = self.container(name)?;
        let old = container.spec.name.clone();
        if old == new {
            let problem = "it is the container's name already";
            return Err(Error::invalid("container name", new, problem));
        }
        self.edit_spec(&container.spec.id, |_, spec| {
            self.link_name(&self.roots().container(&spec.id), new)?;
            spec.name = new.to_owned();
            Ok(Written::default())
        })?;
        let event = Event::container("rename", &container.spec.id).with("name", new);
        self.record_event(&event.with("image", &container.spec.image.reference).with("oldName", old))
    }

    /// Changes a container's record, one caller at a time, and tells its supervisor. `edit` gives what it has written of
    /// the container's cgroups.
    pub(super) fn edit_spec(
        &self,
        id: &str,
        edit: impl FnOnce(&ContainerInfo, &mut ContainerSpec) -> Result<Written>,
    ) -> Result<()> {
        let paths = self.roots().container(id);
        let dir = File::open(paths.dir()).map_err(Error::io("open", paths.dir()))?;
        dir.lock().map_err(Error::io("lock", paths.dir()))?;
        // As it is now that nobody else changes it.
        let container = self.container_by_id(id)?;
        let mut spec = container.spec.clone();
        let written = edit(&container, &mut spec)?;
        if let Err(error) = spec.write(&paths.spec()) {
            written.before.undo();
            return Err(error.into());
        }
        // Under the lock, so that nobody takes it for left over, and gives it to another container.
        if spec.name != container.spec.name {
            self.free_name(id, &container.spec.name)?;
        }
        if container.state.state.is_active() {
            self.tell_of_edit(&container, written.now.settings().to_vec())?;
        }
        Ok(())
    }

    /// Removes a name of this container.
    fn free_name(&self, id: &str, name: &str) -> Result<()> {
        if self.name_holder(name)?.as_deref() != Some(id) {
            return Ok(());
        }
        let link = self.roots().names().join(name);
        match fs::remove_file(&link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", link)(error)),
            _ => Ok(()),
        }
    }

    fn tell_of_edit(&self, container: &ContainerInfo, settings: Vec<(PathBuf, String)>) -> Result<()> {
        let told = self.supervisor(container, "change").and_then(|mut supervisor| {
            match supervisor.reload(settings) {
                // One of an older brig goes on as it was; its next start knows.
                Err(ClientError::Refused { source }) if source.code == "unsupported" => Ok(()),
                told => told.map_err(client_error(&container.spec.name)),
            }
        });
        match told {
            Err(error) if super::life::ended_meanwhile(&error) => Ok(()),
            told => told,
        }
    }

    /// Freezes all processes of a container.
    pub fn pause(&self, name: &str) -> Result<()> {
        let container = self.container(name)?;
        let mut supervisor = self.supervisor(&container, "pause")?;
        supervisor.pause().map_err(client_error(&container.spec.name))
    }

    /// Lets a frozen container go on.
    pub fn unpause(&self, name: &str) -> Result<()> {
        let container = self.container(name)?;
        let mut supervisor = self.supervisor(&container, "unpause")?;
        supervisor.resume().map_err(client_error(&container.spec.name))
    }
}
