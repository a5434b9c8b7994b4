mod archive;
mod pickle;
mod torch;
