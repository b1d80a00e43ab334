//! The real helper, driven as the library drives it.

mod container;
mod crash;
mod ends;
mod hostile;
mod output;
mod requests;
