//! Who calls, as the gate found; what a browser may ask.

/// Who calls. The gate puts it among the extensions of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Caller {
    /// A service or a tool that keeps its key to itself, or one that needs none.
    #[default]
    Service,
    /// A page in a browser, with a key that everybody can read.
    Browser(Agent),
}

/// What sits at a browser, as far as its requests tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agent {
    /// A person.
    Person,
    /// A program: answered like a person, but nothing of it counts.
    Bot,
}

/// Among the extensions of an answer: it went to a browser that brought no
/// visitor id of ours. Many of them from one address are a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newcomer;

impl Caller {
    /// Whether an answer tells of a [`Newcomer`]: the visitor id that was sent,
    /// and the one that was answered.
    pub fn newcomer(self, sent: &str, answered: &str) -> Option<Newcomer> {
        (self != Caller::Service && (sent.is_empty() || sent != answered)).then_some(Newcomer)
    }

    /// From the extensions of a request; a service when there is none.
    pub fn of(extensions: &axum::http::Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }
}
