//! The tests of Wharfinger.
