//! Who the sentinels say is the primary. All are asked at once and the answer
//! that most of them give is taken, so that neither a dead sentinel costs time
//! nor one that was cut off from the others decides.

use std::time::Duration;

use redis::Value;
use tokio::task::JoinSet;

use super::{
    address::{Login, Node, Transport},
    link,
    outage::{Failure, Outage},
};

/// Commands that may wait for a sentinel.
const QUEUE_LEN_MAX: usize = 4;

/// Whom to ask, and about what.
pub(super) struct Asked<'a> {
    /// Where the sentinels are.
    pub sentinels: &'a [Node],
    /// What they call the primary.
    pub primary: &'a str,
    /// As whom.
    pub login: &'a Login,
    /// Over TLS or not.
    pub transport: Transport,
}

/// Where most of the sentinels that answer in time say the primary is.
pub(super) async fn primary_node(asked: &Asked<'_>, timeout: Duration) -> Result<Node, Failure> {
    let mut questions = JoinSet::new();
    for sentinel in asked.sentinels {
        let to = link::connection_addr(sentinel, asked.transport);
        let info = link::connection_info(to, asked.login, 0)?;
        let primary = asked.primary.to_owned();
        questions.spawn(tokio::time::timeout(timeout, ask(info, primary)));
    }
    let (mut votes, mut refusal) = (Votes::new(asked.sentinels.len()), Outage::Unresolved);
    while let Some(answer) = questions.join_next().await {
        match answer {
            Ok(Ok(Ok(node))) => votes.count(node),
            Ok(Ok(Err(Failure::Outage(Outage::Denied)))) => refusal = Outage::Denied,
            _ => {}
        }
        if let Some(node) = votes.decided() {
            return Ok(node);
        }
    }
    votes.most().ok_or(Failure::Outage(refusal))
}

async fn ask(info: redis::ConnectionInfo, primary: String) -> Result<Node, Failure> {
    let mut connection = link::open(info, QUEUE_LEN_MAX).await?;
    let mut command = redis::cmd("SENTINEL");
    command.arg("GET-MASTER-ADDR-BY-NAME").arg(primary);
    match link::value(connection.send_packed_command(&command).await)? {
        Value::Array(parts) => {
            let host = parts.first().and_then(link::text).map(str::to_owned);
            let port = parts.get(1).and_then(link::text).and_then(|port| port.parse().ok());
            host.zip(port).map(|(host, port)| Node { host, port }).ok_or_else(|| Failure::shape("a host and a port"))
        }
        _ => Err(Outage::Unresolved.into()),
    }
}

/// Answers counted.
struct Votes {
    of: usize,
    nodes: Vec<(Node, usize)>,
}

impl Votes {
    fn new(of: usize) -> Self {
        Self { of, nodes: Vec::new() }
    }

    fn count(&mut self, node: Node) {
        match self.nodes.iter_mut().find(|(known, _)| *known == node) {
            Some((_, votes)) => *votes += 1,
            None => self.nodes.push((node, 1)),
        }
    }

    /// The node that more than half of all named.
    fn decided(&self) -> Option<Node> {
        self.nodes.iter().find(|(_, votes)| 2 * votes > self.of).map(|(node, _)| node.clone())
    }

    /// The node that most named; the smaller of two that are even.
    fn most(&self) -> Option<Node> {
        let best = self.nodes.iter().max_by(|(a, votes_a), (b, votes_b)| votes_a.cmp(votes_b).then(b.cmp(a)));
        best.map(|(node, _)| node.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(port: u16) -> Node {
        Node { host: "10.0.0.1".to_owned(), port }
    }

    #[test]
    fn more_than_half_decide_at_once_and_the_most_at_the_end() {
        let mut votes = Votes::new(5);
        assert_eq!((votes.decided(), votes.most()), (None, None));
        votes.count(node(2));
        votes.count(node(1));
        assert_eq!((votes.decided(), votes.most()), (None, Some(node(1))), "even: the smaller");
        votes.count(node(2));
        assert_eq!((votes.decided(), votes.most()), (None, Some(node(2))));
        votes.count(node(2));
        assert_eq!(votes.decided(), Some(node(2)));
    }
}
