//! What can be asked of Redis. Every call ends by its deadline, or earlier by
//! [`Settings::call_max`](super::Settings::call_max), and is never repeated: one
//! that timed out may have run.

use std::time::Instant;

use redis::{Cmd, Pipeline, RedisResult, ServerErrorKind, Value};

use super::{
    client::{Answer, Client},
    link,
    outage::{Effect, Failure, Outage},
    scripts::Script,
    settings::Kind,
};

/// One entry of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id, to read on from.
    pub id: String,
    /// Its fields in order: names and values.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// How many entries of a stream stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trim {
    /// About so many of the newest. Only where nobody may miss what was trimmed
    /// without noticing.
    MaxLen(u64),
    /// Those from this time on, milliseconds since 1970, of the clock of Redis.
    MinTimeMs(u64),
}

impl Client {
    /// Sends any command that does not block.
    ///
    /// # Errors
    /// An outage, or a command that Redis does not understand.
    pub async fn call(&self, command: &Cmd, deadline: Instant) -> Result<Value, Failure> {
        self.call_as(Kind::Other, command, deadline).await
    }

    async fn call_as(&self, kind: Kind, command: &Cmd, deadline: Instant) -> Result<Value, Failure> {
        self.run(kind, deadline, |link| async move { link.send(command).await }).await
    }

    /// The value of a key; none when there is none.
    ///
    /// # Errors
    /// An outage, or a key that holds something else.
    pub async fn get(&self, key: &[u8], deadline: Instant) -> Result<Option<Vec<u8>>, Failure> {
        bytes(self.call_as(Kind::Get, redis::cmd("GET").arg(key), deadline).await?)
    }

    /// The values of keys, in their order. In a cluster all keys must lie in one
    /// slot.
    ///
    /// # Errors
    /// An outage, or keys of several slots.
    pub async fn mget(&self, keys: &[Vec<u8>], deadline: Instant) -> Result<Vec<Option<Vec<u8>>>, Failure> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        match self.call_as(Kind::Mget, redis::cmd("MGET").arg(keys), deadline).await? {
            Value::Array(values) if values.len() == keys.len() => values.into_iter().map(bytes).collect(),
            _ => Err(Failure::shape("a value per key")),
        }
    }

    /// Runs a script by its hash; sends it whole, once, when Redis has forgotten
    /// it.
    ///
    /// # Errors
    /// An outage, or a mistake in the script or its arguments.
    pub async fn script(
        &self,
        script: &Script,
        keys: &[&[u8]],
        arguments: &[&[u8]],
        deadline: Instant,
    ) -> Result<Value, Failure> {
        let by_hash = invocation(("EVALSHA", script.hash()), keys, arguments);
        let whole = || invocation(("EVAL", script.text), keys, arguments);
        self.run(Kind::Script, deadline, |link| async move {
            let answer = link.send(&by_hash).await;
            match is_forgotten(&answer) {
                true => link.send(&whole()).await,
                false => answer,
            }
        })
        .await
    }

    /// Sends commands in one go, not as a transaction; answers each.
    ///
    /// # Errors
    /// An outage in which none was answered.
    pub async fn pipeline(
        &self,
        commands: &Pipeline,
        deadline: Instant,
    ) -> Result<Vec<Result<Value, Failure>>, Failure> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let send = |link: link::Link| async move { link.send_all(commands).await };
        let values = self.run(Kind::Pipeline, deadline, send).await?;
        if values.len() != commands.len() {
            return Err(Failure::shape("an answer per command"));
        }
        Ok(values.into_iter().map(|value| link::value(Ok(value))).collect())
    }

    /// Adds an entry to a stream and answers its id.
    ///
    /// # Errors
    /// An outage, or a key that is no stream.
    pub async fn xadd(
        &self,
        stream: &[u8],
        trim: Option<Trim>,
        fields: &[(&[u8], &[u8])],
        deadline: Instant,
    ) -> Result<String, Failure> {
        let mut command = redis::cmd("XADD");
        command.arg(stream);
        match trim {
            Some(Trim::MaxLen(entries)) => command.arg("MAXLEN").arg("~").arg(entries),
            Some(Trim::MinTimeMs(time_ms)) => command.arg("MINID").arg("~").arg(time_ms),
            None => &mut command,
        };
        command.arg("*");
        for (name, value) in fields {
            command.arg(*name).arg(*value);
        }
        let answer = self.call_as(Kind::Xadd, &command, deadline).await?;
        link::text(&answer).map(str::to_owned).ok_or_else(|| Failure::shape("the id of an entry"))
    }

    /// At most `entries_max` entries of a stream after an id, oldest first; none
    /// when there are none. Does not wait for any: the connection is shared.
    ///
    /// # Errors
    /// An outage, or a key that is no stream.
    pub async fn xread(
        &self,
        stream: &[u8],
        after: &str,
        entries_max: usize,
        deadline: Instant,
    ) -> Result<Vec<Entry>, Failure> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(entries_max).arg("STREAMS").arg(stream).arg(after);
        let streams = match self.call_as(Kind::Xread, &command, deadline).await? {
            Value::Nil => return Ok(Vec::new()),
            Value::Map(mut streams) => streams.pop().map(|(_, entries)| entries),
            _ => None,
        };
        match streams {
            Some(Value::Array(entries)) => entries.into_iter().map(entry).collect(),
            _ => Err(Failure::shape("the entries of a stream")),
        }
    }
}

fn invocation((command, script): (&str, &str), keys: &[&[u8]], arguments: &[&[u8]]) -> Cmd {
    let mut command = redis::cmd(command);
    command.arg(script).arg(keys.len());
    for part in keys.iter().chain(arguments) {
        command.arg(*part);
    }
    command
}

fn is_forgotten(answer: &RedisResult<Value>) -> bool {
    match answer {
        Ok(Value::ServerError(error)) => error.kind() == Some(ServerErrorKind::NoScript),
        Err(error) => Failure::of(error).outage() == Some(Outage::NoScript),
        Ok(_) => false,
    }
}

fn bytes(value: Value) -> Result<Option<Vec<u8>>, Failure> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes)),
        _ => Err(Failure::shape("bytes")),
    }
}

fn entry(value: Value) -> Result<Entry, Failure> {
    let shape = || Failure::shape("an entry of a stream");
    let Value::Array(parts) = value else { return Err(shape()) };
    let [id, Value::Array(fields)] = parts.as_slice() else { return Err(shape()) };
    let id = link::text(id).ok_or_else(shape)?.to_owned();
    let field = |pair: &[Value]| match pair {
        [Value::BulkString(name), Value::BulkString(value)] => Ok((name.clone(), value.clone())),
        _ => Err(shape()),
    };
    Ok(Entry { id, fields: fields.chunks(2).map(field).collect::<Result<_, _>>()? })
}

impl Answer for Value {
    fn failure(&self) -> Option<Failure> {
        match self {
            Value::ServerError(error) => Some(Failure::of_server(error)),
            _ => None,
        }
    }

    fn checked(self) -> Result<Self, Failure> {
        self.failure().map_or(Ok(self), Err)
    }
}

impl Answer for Vec<Value> {
    /// The first that says something about the connection.
    fn failure(&self) -> Option<Failure> {
        let says = |failure: &Failure| failure.outage().is_some_and(|outage| outage.effect() != Effect::None);
        self.iter().filter_map(Answer::failure).find(says)
    }

    fn checked(self) -> Result<Self, Failure> {
        Ok(self)
    }
}
