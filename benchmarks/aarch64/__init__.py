"""An aarch64 Debian under qemu-user: what is installed there, how it is entered, what is run, what came out."""
