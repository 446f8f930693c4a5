//! The heart against a made-up world: nodes and ranks are played, time is a number.

mod bad_days;
mod chaos;
mod good_days;
mod random;
mod restarts;
mod world;
