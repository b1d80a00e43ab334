//! Exec: another process in a running container.

use brig_runtime::ContainerSpec;
use brig_runtime::client::Supervisor;
use brig_runtime::protocol::ExecRequest;

use super::command;
use super::find::ContainerInfo;
use super::life::client_error;
use crate::blocking::Engine;
use crate::error::{Error, Result};

/// What to run, and as whom.
#[derive(Clone, Debug, Default)]
pub struct ExecOptions {
    /// The program and its arguments.
    pub args: Vec<String>,
    /// Variables beside the container's: `NAME=value`, or `NAME` to take the caller's.
    pub env: Vec<String>,
    /// `user[:group]`; the container's without one.
    pub user: Option<String>,
    /// The working directory; the container's without one.
    pub workdir: Option<String>,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// Whether standard input stays open.
    pub interactive: bool,
    /// Whether nobody waits for it.
    pub detach: bool,
    /// Rows and columns of the terminal.
    pub size: Option<(u16, u16)>,
}

impl Engine {
    /// Starts another process in a running container: of a wasm one another module of its image, or a function that its
    /// module exports. The connection carries its output, its input and its end.
    pub fn exec(&self, name: &str, options: &ExecOptions) -> Result<Supervisor> {
        let container = self.container(name)?;
        let request = self.exec_request(&container, options)?;
        let mut supervisor = self.supervisor(&container, "exec in")?;
        supervisor.exec(request).map_err(client_error(&container.spec.name))?;
        Ok(supervisor)
    }

    pub(crate) fn exec_request(
        &self,
        container: &ContainerInfo,
        options: &ExecOptions,
    ) -> Result<ExecRequest> {
        if options.args.is_empty() {
            return Err(Error::NothingToRun { name: container.spec.name.clone() });
        }
        if container.spec.kind == "wasm" {
            return self.wasm_exec_request(container, options);
        }
        let wanted = options.user.as_ref().unwrap_or(&container.spec.user);
        let user = self.container_user(container, wanted)?;
        let mut env = env(&container.spec, options)?;
        command::set_default(&mut env, format!("HOME={}", user.home));
        if options.tty {
            command::set_default(&mut env, "TERM=xterm".into());
        }
        Ok(ExecRequest {
            args: options.args.clone(),
            env,
            cwd: options.workdir.clone().unwrap_or_else(|| container.spec.cwd.clone()),
            uid: user.uid,
            gid: user.gid,
            groups: user.groups,
            tty: options.tty,
            stdin: options.interactive,
            detach: options.detach,
            size: options.size,
            engine: None,
        })
    }

    /// A user by the container's own files, its writable layer included.
    pub(crate) fn container_user(
        &self,
        container: &ContainerInfo,
        wanted: &str,
    ) -> Result<crate::users::User> {
        let layers = crate::layers::of_record(&container.spec)?;
        let upper = self.roots().container(&container.spec.id).upper();
        let stack = self.layer_stack(&layers, upper.exists().then_some(upper.as_path()))?;
        crate::users::from_stack(&stack, wanted)
    }
}

/// The container's environment, and the caller's beside it.
pub(super) fn env(spec: &ContainerSpec, options: &ExecOptions) -> Result<Vec<String>> {
    let mut env = spec.env.clone();
    let given = super::CreateOptions { env: options.env.clone(), ..super::CreateOptions::default() };
    for entry in command::env(&brig_oci::RunConfig::default(), &given)? {
        command::set(&mut env, entry);
    }
    Ok(env)
}
