//! brig-testing
