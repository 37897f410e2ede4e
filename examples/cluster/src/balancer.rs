//! A balancer for one machine: it passes each connection to a node, and knows nothing of what is in it.

use crate::nodes::Nodes;
use std::{io, sync::Arc};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

/// Passes connections on. One for which there is no node is closed, and its client comes back later.
pub(crate) async fn run(listener: TcpListener, nodes: &Arc<Nodes>) -> io::Result<()> {
    loop {
        let (client, _) = listener.accept().await?;
        tokio::spawn(pass(client, Arc::clone(nodes)));
    }
}

async fn pass(mut client: TcpStream, nodes: Arc<Nodes>) {
    let Some((mut node, _passed)) = nodes.connect().await else { return };
    let _ = (client.set_nodelay(true), node.set_nodelay(true));
    // An error on one side closes the other.
    let _ = copy_bidirectional(&mut client, &mut node).await;
}
