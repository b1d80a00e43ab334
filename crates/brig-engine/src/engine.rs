//! The engine for async hosts: every call may be dropped at any await, and blocking work is on blocking threads.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use brig_oci::Digest;
use brig_runtime::files::{Change, PathStat};
use brig_runtime::logs::{LogOptions, LogStream};
use brig_runtime::{ExitStatus, LimitChanges};

use crate::blocking;
use crate::containers::{ContainerInfo, Copied, CopyOptions, CreateOptions, ExecOptions};
use crate::error::Result;
use crate::images::{
    CommitOptions, Committed, HistoryEntry, ImageDetails, ImageSummary, ImportOptions, Wanted,
};
use crate::session::Session;
use crate::threads;
use crate::volumes::{VolumeInfo, VolumeOptions};

pub use crate::blocking::EngineOptions;

/// One engine on one root, for both kinds of containers. Cheap to clone; clones share it.
///
/// ```no_run
/// # async fn example() -> brig_engine::Result<()> {
/// use brig_engine::{CreateOptions, Engine, EngineOptions};
///
/// let engine = Engine::open(EngineOptions::default()).await?;
/// let options = CreateOptions { image: "busybox".into(), args: vec!["true".into()], ..Default::default() };
/// let container = engine.create(options).await?;
/// engine.start(&container).await?;
/// let status = engine.wait(&container.spec.id).await?;
/// assert!(status.success());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Engine(blocking::Engine);

impl Engine {
    /// Opens the root, and makes it on first use.
    pub async fn open(options: EngineOptions) -> Result<Self> {
        threads::blocking(move || blocking::Engine::open(options)).await.map(Self)
    }

    /// The same engine for callers without a runtime.
    pub fn blocking(&self) -> &blocking::Engine {
        &self.0
    }

    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&blocking::Engine) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let engine = self.0.clone();
        threads::blocking(move || work(&engine)).await
    }

    /// Pulls an image. Dropping the future keeps what was received; the next pull continues there.
    #[cfg(feature = "registry")]
    pub async fn pull(&self, name: &str, options: &crate::PullOptions) -> Result<crate::ResolvedImage> {
        self.0.pull(&name.parse()?, options).await
    }

    /// Pushes an image under the name that it has in the store.
    #[cfg(feature = "registry")]
    pub async fn push(&self, name: &str, options: &crate::PushOptions) -> Result<brig_oci::Descriptor> {
        self.0.push(&name.parse()?, options).await
    }

    /// Loads all images of an OCI or docker archive or an OCI layout; gives their names.
    pub async fn load(&self, path: impl AsRef<Path>, tag: Option<&str>) -> Result<Vec<String>> {
        let (path, tag) = (path.as_ref().to_owned(), tag.map(str::to_owned));
        self.call(move |engine| engine.load(Some(&path), tag.as_deref())).await
    }

    /// All references of the store.
    pub async fn images(&self) -> Result<Vec<ImageSummary>> {
        self.call(blocking::Engine::images).await
    }

    /// Everything about an image.
    pub async fn inspect_image(&self, name: &str, wanted: Wanted) -> Result<ImageDetails> {
        let name = name.to_owned();
        self.call(move |engine| engine.inspect_image(&name, &wanted)).await
    }

    /// Removes a name, and the image with its last one.
    pub async fn remove_image(&self, name: &str, force: bool) -> Result<Vec<String>> {
        let name = name.to_owned();
        self.call(move |engine| engine.remove_image(&name, force)).await
    }

    /// Creates a container from an image in the store, or from a `.wasm` file.
    pub async fn create(&self, options: CreateOptions) -> Result<ContainerInfo> {
        self.call(move |engine| engine.create(&options)).await
    }

    /// Starts a container; its output goes to its log.
    pub async fn start(&self, container: &ContainerInfo) -> Result<()> {
        let container = container.clone();
        self.call(move |engine| engine.start(&container, None).map(|_| ())).await
    }

    /// Runs another process in a running Linux container; the session carries its output, its input and its end.
    pub async fn exec(&self, name: &str, options: ExecOptions) -> Result<Session> {
        let name = name.to_owned();
        self.call(move |engine| Ok(Session::new(name.clone(), engine.exec(&name, &options)?))).await
    }

    /// Sends a signal to the payload.
    pub async fn kill(&self, name: &str, signal: i32) -> Result<()> {
        let name = name.to_owned();
        self.call(move |engine| engine.kill(&name, signal)).await
    }

    /// Changes limits of a container: of its cgroups, if it runs, and in its record. A failure changes nothing.
    pub async fn update(&self, name: &str, changes: LimitChanges) -> Result<()> {
        let name = name.to_owned();
        self.call(move |engine| engine.update(&name, &changes, None)).await
    }

    /// Asks the container to stop, and kills it after `grace`, or after its own time. Dropping the future ends the wait; the container was
    /// asked all the same.
    pub async fn stop(&self, name: &str, grace: impl Into<Option<Duration>>) -> Result<ExitStatus> {
        let (engine, name, grace) = (self.0.clone(), name.to_owned(), grace.into());
        threads::cancellable(move |cancel| engine.stop_until(&name, None, grace, cancel)).await
    }

    /// Stops the container if it runs, and starts it.
    pub async fn restart(&self, name: &str, grace: Duration) -> Result<()> {
        let name = name.to_owned();
        self.call(move |engine| engine.restart(&name, None, Some(grace))).await
    }

    /// Gives the container another name.
    pub async fn rename(&self, name: &str, new: &str) -> Result<()> {
        let (name, new) = (name.to_owned(), new.to_owned());
        self.call(move |engine| engine.rename(&name, &new)).await
    }

    /// Freezes the container.
    pub async fn pause(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.call(move |engine| engine.pause(&name)).await
    }

    /// Lets a frozen container go on.
    pub async fn unpause(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.call(move |engine| engine.unpause(&name)).await
    }

    /// Waits until the container has ended. Dropping the future ends the wait, and leaves the container as it is.
    pub async fn wait(&self, name: &str) -> Result<ExitStatus> {
        let (engine, name) = (self.0.clone(), name.to_owned());
        threads::cancellable(move |cancel| engine.wait_until(&name, cancel)).await
    }

    /// What the container has printed up to now.
    ///
    /// Each record is the text and the stream that it was written to.
    pub async fn logs(&self, name: &str) -> Result<Vec<(LogStream, String)>> {
        let name = name.to_owned();
        self.call(move |engine| {
            let mut records = Vec::new();
            engine.logs(&name, &LogOptions::default(), |record| {
                records.push((record.stream, record.text.clone().into_owned()));
                ControlFlow::Continue(())
            })?;
            Ok(records)
        })
        .await
    }

    /// What is at a path of a container. A symbolic link is one.
    pub async fn stat_path(&self, name: &str, path: &str) -> Result<PathStat> {
        let (name, path) = (name.to_owned(), path.to_owned());
        self.call(move |engine| engine.stat_path(&name, &path)).await
    }

    /// Copies a file or directory of a container to the host, by docker's rules.
    pub async fn copy_from(
        &self,
        name: &str,
        source: &str,
        destination: impl AsRef<Path>,
        options: CopyOptions,
    ) -> Result<Copied> {
        let (name, source, to) = (name.to_owned(), source.to_owned(), destination.as_ref().to_owned());
        self.call(move |engine| engine.copy_from(&name, &source, &to, &options)).await
    }

    /// Copies a file or directory of the host into a container, by docker's rules.
    pub async fn copy_to(
        &self,
        source: impl AsRef<Path>,
        name: &str,
        destination: &str,
        options: CopyOptions,
    ) -> Result<Copied> {
        let (from, name, destination) = (source.as_ref().to_owned(), name.to_owned(), destination.to_owned());
        self.call(move |engine| engine.copy_to(&from, &name, &destination, &options)).await
    }

    /// What a container has changed in its image's files, by path.
    pub async fn changes(&self, name: &str) -> Result<Vec<Change>> {
        let name = name.to_owned();
        self.call(move |engine| engine.changes(&name)).await
    }

    /// Writes all of a container's own files to a tar, without what is mounted in it.
    pub async fn export_to_file(&self, name: &str, path: impl AsRef<Path>) -> Result<()> {
        let (name, path) = (name.to_owned(), path.as_ref().to_owned());
        self.call(move |engine| engine.export_to_file(&name, &path)).await
    }

    /// Makes an image of one layer from a tar; gives its name and its id.
    pub async fn import(
        &self,
        path: impl AsRef<Path>,
        name: Option<&str>,
        options: ImportOptions,
    ) -> Result<(String, Digest)> {
        let (path, name) = (path.as_ref().to_owned(), name.map(str::to_owned));
        self.call(move |engine| engine.import(Some(&path), name.as_deref(), &options)).await
    }

    /// Makes an image of a container's image and what the container has changed.
    pub async fn commit(
        &self,
        container: &str,
        name: Option<&str>,
        options: CommitOptions,
    ) -> Result<Committed> {
        let (container, name) = (container.to_owned(), name.map(str::to_owned));
        self.call(move |engine| engine.commit(&container, name.as_deref(), &options)).await
    }

    /// How an image came about, newest first.
    pub async fn history(&self, name: &str, wanted: Wanted) -> Result<Vec<HistoryEntry>> {
        let name = name.to_owned();
        self.call(move |engine| engine.history(&name, &wanted)).await
    }

    /// One container as it is now.
    pub async fn container(&self, name: &str) -> Result<ContainerInfo> {
        let name = name.to_owned();
        self.call(move |engine| engine.container(&name)).await
    }

    /// All containers, newest first.
    pub async fn containers(&self) -> Result<Vec<ContainerInfo>> {
        self.call(blocking::Engine::containers).await
    }

    /// Makes a volume; one of this name that is there already stays as it is.
    pub async fn create_volume(&self, options: VolumeOptions) -> Result<VolumeInfo> {
        self.call(move |engine| engine.create_volume(&options)).await
    }

    /// All volumes, by name.
    pub async fn volumes(&self) -> Result<Vec<VolumeInfo>> {
        self.call(blocking::Engine::volumes).await
    }

    /// Removes a volume that no container uses.
    pub async fn remove_volume(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.call(move |engine| engine.remove_volume(&name)).await
    }

    /// Removes a container; with force, kills it first.
    pub async fn remove(&self, name: &str, force: bool) -> Result<()> {
        let name = name.to_owned();
        self.call(move |engine| engine.remove(&name, force)).await
    }
}
