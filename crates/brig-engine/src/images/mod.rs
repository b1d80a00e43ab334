//! Images: finding, listing, naming, moving and removing them.

mod archive;
mod choose;
mod inspect;
mod list;
mod load;
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
pub use inspect::ImageDetails;
pub use list::ImageSummary;
#[cfg(feature = "registry")]
pub use pull::PullOptions;
#[cfg(feature = "registry")]
pub use push::PushOptions;
pub use resolve::ResolvedImage;
