//! Messages, and what each waits for.

use crate::EndpointId;
use crate::flow::LinkId;

/// A message as its list counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub u32);

/// How a message gets from one end to the other.
#[derive(Clone, Debug, PartialEq)]
pub enum Way {
    /// Wherever the routes of the fabric lead. A message to oneself crosses nothing.
    Routed {
        /// The sender.
        from: EndpointId,
        /// The receiver.
        to: EndpointId,
    },
    /// Over these links: what a switch sends when it adds or copies.
    Links(Vec<LinkId>),
    /// Nowhere: something that only takes time.
    Nowhere,
}

/// Bytes on their way, or something that only takes time.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// From where to where.
    pub way: Way,
    /// To be carried.
    pub bytes: f64,
    /// Seconds between its being due and its first byte.
    pub delay: f64,
    /// Messages that must have ended before.
    pub deps: Vec<MessageId>,
}

/// Messages, each of which may wait for earlier ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traffic {
    messages: Vec<Message>,
}

impl Traffic {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// All messages, in the order in which they were added.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Adds a message between two endpoints.
    pub fn send(&mut self, from: EndpointId, to: EndpointId, bytes: f64, deps: &[MessageId]) -> MessageId {
        self.push(Message { way: Way::Routed { from, to }, bytes, delay: 0.0, deps: deps.to_vec() })
    }

    /// Adds something that takes `seconds` and crosses nothing.
    pub fn wait(&mut self, seconds: f64, deps: &[MessageId]) -> MessageId {
        self.push(Message { way: Way::Nowhere, bytes: 0.0, delay: seconds, deps: deps.to_vec() })
    }

    /// Adds any message.
    ///
    /// # Panics
    /// When it waits for a message that is not there yet: then messages could wait in a circle.
    pub fn push(&mut self, message: Message) -> MessageId {
        let id = MessageId(self.messages.len() as u32);
        assert!(message.deps.iter().all(|&dep| dep < id), "a message waits for earlier ones only");
        self.messages.push(message);
        id
    }

    /// Bytes that endpoints hand to the network or to their node, by sender.
    pub fn bytes_from(&self, endpoint: EndpointId) -> f64 {
        self.sum(|from, _| from == endpoint)
    }

    /// Bytes that reach an endpoint from another.
    pub fn bytes_to(&self, endpoint: EndpointId) -> f64 {
        self.sum(|_, to| to == endpoint)
    }

    /// Bytes between endpoints of different nodes of so many endpoints.
    pub fn bytes_between_nodes(&self, endpoints_per_node: u32) -> f64 {
        self.sum(|from, to| from.0 / endpoints_per_node != to.0 / endpoints_per_node)
    }

    /// Bytes of messages from one endpoint to another of which `counts` holds.
    fn sum(&self, counts: impl Fn(EndpointId, EndpointId) -> bool) -> f64 {
        let bytes = |message: &Message| match message.way {
            Way::Routed { from, to } if from != to && counts(from, to) => message.bytes,
            _ => 0.0,
        };
        self.messages.iter().map(bytes).sum()
    }
}
