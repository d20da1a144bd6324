//! Clusters that grow while they run: nodes that announce themselves.

use super::cluster::{Cluster, Plan};
use super::programs::program;
use super::server::Server;

impl Plan {
    /// Makes its directories and starts nothing. The nodes announce themselves; the coordinator is told of none.
    pub async fn lay_out_joining(self) -> Cluster {
        let mut cluster = Cluster::lay_out(self).await;
        cluster.coordinator.drop_flag("--node");
        let coordinator = cluster.coordinator.url();
        for node in &mut cluster.nodes {
            node.flag("--coordinator", &coordinator);
        }
        cluster
    }
}

impl Cluster {
    /// Lays out one more node, which announces itself; its number.
    pub fn add_node(&mut self) -> usize {
        let (number, port) = (self.nodes.len() + 1, self.spare_port());
        let name = format!("n{number}");
        let (directory, log) = (self.root().join("cwd"), self.root().join(format!("logs/{name}.log")));
        let mut node = Server::new(&name, port, program("storage-node"), &directory, log);
        node.flag("--listen", format!("127.0.0.1:{port}")).flag("--data", self.data(&name).display());
        node.flag("--cluster-file", self.cluster_file().display()).flag("--node-id", &name);
        node.flag("--coordinator", self.coordinator.url());
        self.nodes.push(node);
        number
    }

    /// A port that no process of the cluster has yet.
    pub fn spare_port(&self) -> u16 {
        self.ports.node(self.nodes.len() + 1)
    }
}
