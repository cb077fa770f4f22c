//! Sidereal.
