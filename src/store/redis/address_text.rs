//! The text of an address, cut into its parts.

use super::address::{AddressError, Login, Node, Secret, database};

/// The parts of an address, options undone.
pub(super) struct Parts {
    /// The whole scheme, for messages.
    pub scheme: String,
    /// What stands after `+`; empty for one server.
    pub kind: String,
    /// Whether the scheme begins with `rediss`.
    pub secure: bool,
    /// As whom.
    pub login: Login,
    /// Hosts with commas between, as they stand.
    pub hosts: String,
    /// The path with its first slash, as it stands.
    pub path: String,
    options: Vec<(String, String)>,
}

impl Parts {
    /// Cuts an address.
    pub fn split(text: &str) -> Result<Self, AddressError> {
        // without `://` the text may be anything, a password too: not quoted
        let (scheme, rest) = text.split_once("://").ok_or_else(|| AddressError::Scheme(String::from("...")))?;
        let (base, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        let secure = match base {
            "redis" => false,
            "rediss" => true,
            _ => return Err(AddressError::Scheme(scheme.to_owned())),
        };
        if scheme.ends_with('+') {
            return Err(AddressError::Scheme(scheme.to_owned()));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if path.contains('@') || query.contains('@') {
            return Err(AddressError::Reserved);
        }
        let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let options = query.split('&').filter(|option| !option.is_empty());
        let options = options.map(|option| {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            (name.to_owned(), value.to_owned())
        });
        Ok(Self {
            scheme: scheme.to_owned(),
            kind: kind.to_owned(),
            secure,
            login: login(user)?,
            hosts: hosts.to_owned(),
            path: path.to_owned(),
            options: options.collect(),
        })
    }

    /// The hosts, at most so many.
    pub fn nodes(&self, port: u16, nodes_max: usize) -> Result<Vec<Node>, AddressError> {
        let texts: Vec<&str> = self.hosts.split(',').collect();
        if texts.len() > nodes_max {
            return Err(AddressError::Hosts { scheme: self.scheme.clone(), most: nodes_max, given: texts.len() });
        }
        texts.into_iter().map(|text| node(text, port, &self.scheme)).collect()
    }

    /// The value of an option.
    pub fn option(&self, name: &str) -> Result<Option<String>, AddressError> {
        let value = self.options.iter().find(|(option, _)| option == name);
        value.map(|(_, value)| decoded(value, "an option")).transpose()
    }

    /// The option `db`; 0 when there is none.
    pub fn db(&self) -> Result<u32, AddressError> {
        self.option("db")?.map_or(Ok(0), |text| database(&text))
    }

    /// Refuses every other option.
    pub fn refuse_options(&self, known: &[&str], listed: &'static str) -> Result<(), AddressError> {
        match self.options.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => Err(AddressError::Option(name.clone(), self.scheme.clone(), listed)),
            None => Ok(()),
        }
    }
}

fn login(user: &str) -> Result<Login, AddressError> {
    let (name, password) = match user.split_once(':') {
        Some((name, password)) => (name, Some(password)),
        None => (user, None),
    };
    let username = decoded(name, "the user")?;
    let password = password.map(|password| decoded(password, "the password")).transpose()?;
    Ok(Login { username: (!username.is_empty()).then_some(username), password: password.map(Secret::new) })
}

fn node(text: &str, port: u16, scheme: &str) -> Result<Node, AddressError> {
    let missing = || AddressError::Host(scheme.to_owned());
    let (host, port_text) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or_else(missing)?;
            (host, after.strip_prefix(':'))
        }
        None => text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Err(missing());
    }
    let port = match port_text {
        None => port,
        Some(text) => text.parse().ok().filter(|port| *port != 0).ok_or_else(|| AddressError::Port(text.to_owned()))?,
    };
    Ok(Node { host: decoded(host, "a host")?, port })
}

/// Undoes `%XX`.
pub(super) fn decoded(text: &str, what: &'static str) -> Result<String, AddressError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(value.ok_or(AddressError::Escape(what))?);
        rest = after.get(2..).unwrap_or_default();
    }
    String::from_utf8(bytes).map_err(|_| AddressError::Escape(what))
}
