//! Pulls from a fake engine on a real socket.
