//! Flags for what is mounted in a container.

use brig_engine::{Error, MountFlag, Result, Volume};
use clap::Args;

/// Flags for mounts.
#[derive(Args, Debug)]
pub(crate) struct MountFlags {
    /// Mount a volume by its name, or a directory or file of the host by its path; options: ro, rw, nocopy, U
    #[arg(short, long = "volume", value_name = "[SOURCE:]TARGET[:OPTIONS]")]
    volume: Vec<String>,
    /// Mount as type=volume|bind|tmpfs|image,source=SOURCE,target=TARGET,readonly… says
    #[arg(long, value_name = "KEY=VALUE,…")]
    mount: Vec<MountFlag>,
    /// Mount what another container has mounted
    #[arg(long, value_name = "CONTAINER[:ro]")]
    volumes_from: Vec<String>,
    /// Driver of volumes: local
    #[arg(long, value_name = "DRIVER")]
    volume_driver: Option<String>,
}

/// What of it is volumes, and what file systems in memory.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    pub(crate) volumes: Vec<Volume>,
    pub(crate) volumes_from: Vec<String>,
    /// By target, in the words of `--tmpfs`.
    pub(crate) tmpfs: Vec<(String, String)>,
}

impl MountFlags {
    /// Reads them.
    pub(crate) fn mounts(self) -> Result<Mounts> {
        if let Some(driver) = self.volume_driver.filter(|driver| driver != "local") {
            let problem = format!("plugin \"{driver}\" not found");
            return Err(Error::Invalid { what: "volume driver", value: driver, problem });
        }
        let volumes = self.volume.iter().map(|text| text.parse()).collect::<Result<_>>()?;
        let mut mounts = Mounts { volumes, volumes_from: self.volumes_from, tmpfs: Vec::new() };
        for mount in self.mount {
            match mount {
                MountFlag::Volume(volume) => mounts.volumes.push(volume),
                MountFlag::Tmpfs { target, options } => mounts.tmpfs.push((target, options)),
            }
        }
        Ok(mounts)
    }
}
