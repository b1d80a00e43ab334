//! What goes with an `--rm` container beside its own files: the volumes that nobody named.

use std::io;
use std::path::Path;

use brig_runtime::plan::VolumeUse;
use brig_runtime::volumes;

use super::server::Server;

impl Server {
    /// Removes the volumes that nobody named and nobody else uses, once the container's record is gone. Those that this
    /// doesn't get to are removed by the engine's next look at volumes.
    pub(super) fn remove_volumes(&mut self) {
        let plan = &self.plan.supervisor;
        let Some(containers) = plan.dir.parent() else { return };
        let mut removed: Vec<(String, io::Result<bool>)> = Vec::new();
        for volume in plan.volumes.iter().filter(|volume| volume.anonymous) {
            removed.push((volume.name.clone(), remove(volume, containers)));
        }
        for (name, removed) in removed {
            match removed {
                Ok(true) => self.journal.volume_removed(&name),
                Ok(false) => {}
                Err(error) => self.journal.warn(format!("the volume {name} can't be removed: {error}")),
            }
        }
    }
}

/// Says whether it went. Who has it locked is about to use it, or removes it.
fn remove(volume: &VolumeUse, containers: &Path) -> io::Result<bool> {
    let Some(lock) = volumes::try_lock(&volume.dir)? else { return Ok(false) };
    if volumes::may_be_used(containers, &volume.name)? {
        return Ok(false);
    }
    volumes::discard(&volume.dir, lock)?;
    Ok(true)
}
