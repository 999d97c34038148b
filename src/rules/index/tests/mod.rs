mod limits;
mod properties;
mod world;
