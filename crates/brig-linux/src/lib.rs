//! brig-linux
