//! What every part of the tree must keep, read from its sources: the direction of imports, the rooms of a protocol
//! crate, and that no change goes unaudited. The clients, the crash test and the fuzz targets stand beside this crate.

#[cfg(test)]
mod style;
