mod errors;
mod hostile;
mod logic;
mod oracle;
mod world;
