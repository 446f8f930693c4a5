mod again;
mod asked;
mod fabric;
mod jobs;
mod laws;
mod recorded;
mod twin;
