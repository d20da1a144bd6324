//! Bugs to be planted.
