//! Images: finding, listing, naming, moving and removing them.

mod archive;
pub(crate) mod change;
mod choose;
mod commit;
mod history;
mod import;
mod inspect;
mod list;
mod load;
mod made;
#[cfg(feature = "registry")]
mod pull;
#[cfg(feature = "registry")]
mod push;
mod remove;
mod resolve;
mod save;
mod tar_index;
mod unpack;

pub use choose::Wanted;
pub use commit::{CommitOptions, Committed};
pub use history::HistoryEntry;
pub use import::ImportOptions;
pub use inspect::ImageDetails;
pub use list::ImageSummary;
#[cfg(feature = "registry")]
pub use pull::PullOptions;
#[cfg(feature = "registry")]
pub use push::PushOptions;
pub use resolve::ResolvedImage;
pub(crate) use save::write_whole;
